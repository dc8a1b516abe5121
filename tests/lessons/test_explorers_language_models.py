"""The explorers of notebook 01 show what the package computes."""

import math

import numpy as np
import pytest
import torch
from hands_on import press, set_to

from dpo_notes.language.generate import next_token_probs
from dpo_notes.language.next_token import next_token_logits
from dpo_notes.language.score import response_logps
from dpo_notes.lessons.language_models.explorers import SHAPES, SHOWN, Cutting, Imitating, NextToken
from dpo_notes.maths.entropy import cross_entropy
from dpo_notes.pairs.load import PreferencePair

pytestmark = pytest.mark.notebooks


@pytest.fixture
def next_token(tiny_model, tiny_tokenizer):
    return NextToken(tiny_model, tiny_tokenizer, prompt="Where is Rome?", generator=torch.Generator().manual_seed(0))


def left_of_the_bars(explorer):
    """The pixels that hold the names of the tokens."""
    return np.asarray(explorer.canvas.buffer_rgba())[60:, :190].copy()


def test_the_bars_are_the_models_probabilities_before_and_after_the_settings(next_token, tiny_model, tiny_tokenizer):
    set_to(next_token, temperature=2.0, top_k=5, top_p=0.9)
    logits = next_token_logits(tiny_model, tiny_tokenizer, "Where is Rome?")
    top = logits.softmax(-1).topk(SHOWN)
    cut = next_token_probs(logits[None], temperature=2.0, top_k=5, top_p=0.9)[0]
    assert [bar.get_width() for bar in next_token.before] == pytest.approx(top.values.tolist())
    assert [bar.get_width() for bar in next_token.after] == pytest.approx(cut[top.indices].tolist())
    assert f"{int((cut > 0).sum())} tokens can come next" in next_token.words


def test_what_is_drawn_has_the_probability_that_the_package_gives_it(next_token, tiny_model, tiny_tokenizer):
    set_to(next_token, temperature=0.4)
    for _ in range(95):
        press(next_token, "Draw the next token")
    drawn = next_token.so_far.appended
    assert "The text has ended." in next_token.words
    ids = torch.tensor([tiny_tokenizer("Where is Rome?")["input_ids"] + drawn])
    with torch.no_grad():
        logits = tiny_model(ids).logits[:, -len(drawn) - 1 : -1]
    for name, temperature in (("model_logp", 1.0), ("drawn_logp", 0.4)):
        logps = (logits / temperature).log_softmax(-1).gather(-1, torch.tensor(drawn)[None, :, None])
        assert getattr(next_token.so_far, name) == pytest.approx(logps.sum().item(), rel=1e-3)
    assert f"({next_token.so_far.model_logp:.2f} nats)" in next_token.words
    before = next_token.words
    press(next_token, "Draw the next token")  # after the end nothing more happens
    assert next_token.words == before


def test_text_and_names_follow_what_is_drawn_and_start_again_goes_back(next_token, tiny_tokenizer):
    first, picture, strip = [name.get_text() for name in next_token.names], next_token.png, left_of_the_bars(next_token)
    press(next_token, "Take the likeliest")
    assert (left_of_the_bars(next_token) != strip).any()
    assert next_token.title.get_text() == next_token.so_far.text and len(next_token.so_far.appended) == 1
    assert next_token.so_far.drawn_logp == 0 and [name.get_text() for name in next_token.names] != first
    press(next_token, "Start again")
    assert [name.get_text() for name in next_token.names] == first and next_token.png == picture


def test_a_cut_to_one_token_draws_it_for_certain(next_token):
    set_to(next_token, top_k=1)
    assert next_token.words.startswith("Only one token can come next")
    press(next_token, "Draw the next token")
    assert next_token.so_far.drawn_logp == 0 > next_token.so_far.model_logp


def test_a_prompt_of_any_letters_is_drawn_without_a_warning(next_token, recwarn):
    set_to(next_token, prompt="What is $x_1$ in 上海? " + "long " * 90)
    assert next_token.so_far.prompt.startswith("What is $x_1$") and "□" not in next_token.words
    set_to(next_token, prompt="上海 $x")
    assert next_token.title.get_text() == "□□ $x"
    assert not recwarn.list


def test_the_likeliest_answer_of_a_prompt_is_scored_like_a_response(next_token, tiny_model, tiny_tokenizer):
    """The explorer's number is log pi(y | x), the one of the whole series, whenever the text ends by itself."""
    text = next_token.so_far
    for token in [*tiny_tokenizer(" In Italy.")["input_ids"], tiny_tokenizer.eos_token_id]:
        text.append(token, probability=1.0)
    next_token.refresh()
    with torch.no_grad():
        (chosen, _) = response_logps(
            tiny_model, tiny_tokenizer, [PreferencePair("Where is Rome?", " In Italy.", " In Spain.")]
        )
    assert f"({chosen.item():.2f} nats)" in next_token.words and "The text has ended" in next_token.words


@pytest.mark.parametrize(("shape", "kept"), list(zip(SHAPES, [1, 2, 9], strict=True)))
def test_top_p_keeps_few_words_of_a_sure_model_and_many_of_a_flat_one(shape, kept):
    cutting = Cutting()
    set_to(cutting, shape=shape, top_p=0.7)
    assert sum(bar.get_height() > 0 for bar in cutting.after) == kept
    assert cutting.border.get_xdata()[0] == kept + 0.5 and f"{kept} of 13 words stay" in cutting.words
    sums = cutting.sums.get_ydata()
    assert sums[kept - 1] >= 0.7 and all(sums[: kept - 1] < 0.7)
    mass = sum(bar.get_height() for bar in list(cutting.before)[:kept])
    assert f"is {-math.log(mass):.3f} nats" in cutting.words.replace("-0.000", "0.000")


def test_an_untouched_cutting_draws_from_the_model_itself():
    cutting = Cutting()
    assert [bar.get_height() for bar in cutting.after] == pytest.approx([bar.get_height() for bar in cutting.before])
    assert "KL(drawn || model) is 0.000 nats" in cutting.words
    set_to(cutting, temperature=0.0)
    assert "1 of 13 words stay" in cutting.words and "0.00 after" in cutting.words


@pytest.mark.parametrize("truth", [0.0, 0.3, 0.8, 1.0])
def test_the_point_stands_on_the_curve_and_the_gap_is_the_kl(truth):
    imitating = Imitating()
    set_to(imitating, truth=truth, score=1.5)
    q = 1 / (1 + math.exp(-1.5))
    p, log_q = (
        torch.tensor([truth, 1 - truth], dtype=torch.float64),
        torch.tensor([q, 1 - q], dtype=torch.float64).log(),
    )
    ((x,), (y,)) = imitating.point.get_data()
    assert (x, y) == pytest.approx((q, cross_entropy(p.log(), log_q).item()))
    floor, top = imitating.gap.get_ydata()
    assert top == y and floor == imitating.floor.get_ydata()[0] <= imitating.curve.get_ydata().min()
    assert f"π − p = {q - truth:+z.3f}" in imitating.words and "-0.000" not in imitating.words


def test_gradient_steps_end_at_the_share_of_the_corpus():
    imitating = Imitating()
    set_to(imitating, truth=0.35)
    for _ in range(40):
        press(imitating, "Take a gradient step")
    assert [bar.get_height() for bar in imitating.says] == pytest.approx([0.35, 0.65], abs=1e-3)
    assert "KL 0.000" in imitating.words
