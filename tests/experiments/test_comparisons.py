"""Comparisons drawn from a model: the labels follow Bradley–Terry on the true reward, and p(chosen) is kept."""

import math

import pytest
import torch
from intervals import deviations
from torch import Tensor

from dpo_notes.experiments import comparisons
from dpo_notes.experiments.comparisons import draw_comparisons
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair, check_content
from dpo_notes.worlds.reviews import world as reviews


def odd_reward(prompts: list[str], responses: list[str]) -> Tensor:
    """A reward that random text spreads over -1, 0 and 1, and that needs the right prompt for each response."""
    sizes = [len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True)]
    return torch.tensor([float(size % 3 - 1) for size in sizes], dtype=torch.float64)


@pytest.fixture(scope="module")
def drawn(new_tiny_model, tiny_tokenizer) -> list[tuple[PreferencePair, float]]:
    """600 comparisons of a random model's short responses, by `odd_reward`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reviews, "reward", odd_reward)
        generator = torch.Generator().manual_seed(0)
        return draw_comparisons(new_tiny_model(), tiny_tokenizer, 600, generator=generator, max_new_tokens=4)


def margins(drawn: list[tuple[PreferencePair, float]]) -> Tensor:
    prompts = [pair.prompt for pair, _ in drawn]
    chosen, rejected = (
        odd_reward(prompts, [getattr(pair, side) for pair, _ in drawn]) for side in ("chosen", "rejected")
    )
    return chosen - rejected


def test_p_chosen_is_the_sigmoid_of_the_reward_difference(drawn):
    expected = [1 / (1 + math.exp(-margin)) for margin in margins(drawn).tolist()]
    assert [p for _, p in drawn] == pytest.approx(expected, rel=1e-12)
    assert {round(p, 3) for _, p in drawn} == {0.119, 0.269, 0.5, 0.731, 0.881}  # margins of -2 to 2


def test_labels_follow_p_chosen(drawn):
    """Of the pairs whose rewards differ by 1, a share of sigma(1) = 0.731 has the better one chosen; by 2, 0.881."""
    values = margins(drawn)
    for size in (1, 2):
        better = (values[values.abs() == size] > 0).double()
        assert len(better) > 80
        assert abs(deviations(better[:, None], 1 / (1 + math.exp(-size)))) < 4


def test_all_are_comparisons_of_the_review_world_with_two_different_responses(drawn):
    assert len(drawn) == 600
    for pair, _ in drawn:
        assert reviews.is_prompt(pair.prompt)
        check_content(pair)


def test_the_same_seed_draws_the_same_comparisons_and_their_p_comes_from_the_worlds_own_reward(
    tiny_model, tiny_tokenizer
):
    def draw(seed: int) -> list[tuple[PreferencePair, float]]:
        generator = torch.Generator().manual_seed(seed)
        return draw_comparisons(tiny_model, tiny_tokenizer, 12, generator=generator, max_new_tokens=30)

    first = draw(1)
    assert first == draw(1) != draw(2)
    prompts, chosen, rejected = zip(*((pair.prompt, pair.chosen, pair.rejected) for pair, _ in first), strict=True)
    difference = reviews.reward(prompts, chosen) - reviews.reward(prompts, rejected)
    assert difference.abs().max() > 0
    assert [p for _, p in first] == pytest.approx(torch.sigmoid(difference).tolist(), rel=1e-12)


def test_equal_empty_and_repeated_responses_are_drawn_again(new_tiny_model, tiny_tokenizer, monkeypatch):
    """One prompt, and a model that says nothing or one of ten letters: each two letters stand once, 45 in all.

    "a" has reward 4, the others 0. Were both labels kept where two responses meet again and are judged otherwise, "a"
    would be chosen in half of its pairs.
    """
    monkeypatch.setattr(reviews, "sample_prompts", lambda count, *, generator: ["Where is Rome?"] * count)
    monkeypatch.setattr(reviews, "reward", lambda prompts, texts: torch.tensor([4.0 * (t == "a") for t in texts]))
    model = new_tiny_model()
    said = tiny_tokenizer.convert_tokens_to_ids([tiny_tokenizer.eos_token, *"abcdefghij"])
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(torch.nn.functional.one_hot(torch.tensor(0), 32))
        model.lm_head.weight.zero_()
        model.lm_head.weight[said, 0] = 30.0
    generator = torch.Generator().manual_seed(0)
    drawn = draw_comparisons(model, tiny_tokenizer, 45, generator=generator, max_new_tokens=1)
    assert len({frozenset((pair.chosen, pair.rejected)) for pair, _ in drawn}) == 45
    assert {text for pair, _ in drawn for text in (pair.chosen, pair.rejected)} == set("abcdefghij")
    assert all(pair.chosen != pair.rejected for pair, _ in drawn)
    assert sum(pair.chosen == "a" for pair, _ in drawn) >= 7  # of 9, at sigma(4) = 0.982 each


def test_a_model_that_always_says_the_same_is_refused(new_tiny_model, tiny_tokenizer, monkeypatch):
    """All its probability lies on one token, so the two responses to a prompt are always equal."""
    model = new_tiny_model()
    said = tiny_tokenizer.convert_tokens_to_ids(["a"])
    with torch.no_grad():
        model.transformer.ln_f.weight.zero_()
        model.transformer.ln_f.bias.copy_(torch.nn.functional.one_hot(torch.tensor(0), 32))
        model.lm_head.weight.zero_()
        model.lm_head.weight[said, 0] = 60.0
    monkeypatch.setattr(comparisons, "FRUITLESS_ROUNDS", 3)
    with pytest.raises(InputError, match="0 different comparisons; expected 3"):
        draw_comparisons(model, tiny_tokenizer, 3, generator=torch.Generator().manual_seed(0), max_new_tokens=1)
