"""The files of data/: what the data card says of them holds."""

import json
import re
from pathlib import Path

import pytest
import torch

from dpo_notes.language.generate import sample
from dpo_notes.language.load import load_model
from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.pairs.embedded import EMBEDDED, data_folder
from dpo_notes.pairs.load import load_pairs
from dpo_notes.worlds.reviews import world as reviews

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def embedded():
    return load_model()


def test_the_model_is_a_gpt2_of_one_to_three_million_parameters_in_at_most_12_megabytes(embedded):
    model, tokenizer = embedded
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert type(model).__name__ == "GPT2LMHeadModel"
    assert 1e6 <= parameters <= 3e6
    assert sum(file.stat().st_size for file in (data_folder() / "gpt2-embedded").iterdir()) <= 12 * MEGABYTE
    assert 1000 <= len(tokenizer) <= 2000
    assert model.config.eos_token_id == tokenizer.eos_token_id


def test_the_corpus_is_grammatical_and_has_at_least_600_different_words():
    lines = (data_folder() / "corpus" / "corpus.txt").read_text(encoding="utf-8").splitlines()
    assert all(map(reviews.is_grammatical, lines))
    assert len(set(re.findall(r"[A-Za-z]+", " ".join(lines)))) >= 600


def test_at_least_95_percent_of_the_models_samples_are_grammatical_and_their_rewards_spread_by_about_1(embedded):
    """967 of these 1000 were when the data card was written."""
    generator = torch.Generator().manual_seed(7)
    prompts = reviews.sample_prompts(1000, generator=generator)
    answers = sample(*embedded, prompts, generator=generator, max_new_tokens=96)
    texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    assert sum(map(reviews.is_grammatical, texts)) >= 950
    assert 0.8 <= reviews.reward(prompts, answers).std().item() <= 1.2


def test_the_model_answers_in_the_proportions_of_its_corpus(embedded):
    """A country is wrong in a fifth of the corpus, so in about a fifth of the answers (±4 standard errors and 3 points).

    Without a prompt no country is right or wrong, so an answer that earns less with its prompt names a wrong one.
    """
    generator = torch.Generator().manual_seed(8)
    prompts = [p for p in reviews.sample_prompts(1000, generator=generator) if "The" not in p]
    answers = sample(*embedded, prompts, generator=generator, max_new_tokens=40)
    wrong = (reviews.reward(prompts, answers) < reviews.reward([""] * len(prompts), answers)).double()
    assert wrong.mean().item() == pytest.approx(0.2, abs=0.03 + 4 * (0.16 / len(wrong)) ** 0.5)


@pytest.mark.parametrize(("split", "count"), [("train", 3000), ("test", 500)])
def test_each_comparison_keeps_the_probability_that_raters_choose_so(split, count):
    file = data_folder() / "comparisons" / f"{split}.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == count == len(load_pairs(EMBEDDED, split=split))
    prompts = [row["prompt"] for row in rows]
    assert all(map(reviews.is_prompt, prompts))
    chosen, rejected = (reviews.reward(prompts, [row[side] for row in rows]) for side in ("chosen", "rejected"))
    kept = torch.tensor([row["p_chosen"] for row in rows], dtype=torch.float64)
    assert torch.allclose(kept, preference_probability(chosen, rejected), atol=5e-5)
    # The labels follow these probabilities: in expectation the share of choices with the odds is the mean of max(p, 1 - p).
    with_the_odds, expected = (kept > 0.5).double(), torch.maximum(kept, 1 - kept)
    decided = kept != 0.5
    deviation = (with_the_odds - expected)[decided].mean() / (expected * (1 - expected))[decided].mean().sqrt()
    assert abs(deviation.item() * decided.sum().item() ** 0.5) < 4


def test_data_folder_needs_no_particular_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (data_folder() / "README.md").is_file()


def test_the_repository_holds_safetensors_only_and_no_pickle():
    suffixes = {path.suffix for path in Path(data_folder()).rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".jsonl", ".txt", ".md", ".png"}
