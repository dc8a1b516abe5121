"""A text that grows token by token."""

import pytest
import torch

from dpo_notes.language.continuation import Continuation
from dpo_notes.language.generate import sample
from dpo_notes.language.score import response_logps
from dpo_notes.pairs.load import PreferencePair


def test_its_probability_is_that_of_the_response(tiny_model, tiny_tokenizer):
    pair = PreferencePair("Where is Rome?", " In Italy.", " In Italy.")
    text = Continuation(tiny_model, tiny_tokenizer, pair.prompt)
    for token in [*tiny_tokenizer(pair.chosen)["input_ids"], tiny_tokenizer.eos_token_id]:
        assert not text.ended
        text.append(token, probability=0.5)
    with torch.no_grad():
        expected = response_logps(tiny_model, tiny_tokenizer, [pair])[0].item()
    assert text.model_logp == pytest.approx(expected, rel=1e-4) and text.ended
    assert text.drawn_logp == pytest.approx(len(text.appended) * torch.tensor(0.5).log().item())
    assert text.text == pair.prompt + pair.chosen


def test_greedy_steps_give_the_greedy_sample(tiny_model, tiny_tokenizer):
    text = Continuation(tiny_model, tiny_tokenizer, "Tell me")
    for _ in range(12):
        text.append(int(text.logits.argmax()), probability=1.0)
    generator = torch.Generator()
    (said,) = sample(tiny_model, tiny_tokenizer, ["Tell me"], generator=generator, temperature=0, max_new_tokens=12)
    assert text.text == "Tell me" + said


@pytest.mark.parametrize("prompt", ["", "上海 " * 400, "x" * 5000], ids=["empty", "chinese", "long"])
def test_any_prompt_leaves_room_for_a_token(tiny_model, tiny_tokenizer, prompt, recwarn):
    text = Continuation(tiny_model, tiny_tokenizer, prompt)
    assert not text.ended and not recwarn.list
    text.append(5, probability=1.0)
    assert text.ended == (len(prompt) > 0)  # the last place of the context is taken


def test_a_prompt_that_holds_end_of_text_has_not_ended(tiny_model, tiny_tokenizer):
    assert not Continuation(tiny_model, tiny_tokenizer, "Rome.<|endoftext|>Paris").ended
