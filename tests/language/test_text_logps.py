"""Log-probabilities of whole texts, and of the token after one."""

import math

import pytest
import torch

from dpo_notes.language.next_token import next_token_logits
from dpo_notes.language.score import response_logps
from dpo_notes.language.text_logps import nats_per_token, text_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.encode import encode_prompts
from dpo_notes.pairs.load import PreferencePair


@pytest.fixture
def texts(documents):
    return [document.text for document in documents if len(document.text) < 130][:40]


def test_a_text_is_the_chain_of_its_tokens_from_start_to_end(tiny_model, tiny_tokenizer):
    """One forward pass for each token, and the probability read off."""
    end, expected = tiny_tokenizer.eos_token_id, 0.0
    ids = [*tiny_tokenizer("Rome is in Italy.")["input_ids"], end]
    for t, token in enumerate(ids):
        expected += tiny_model(torch.tensor([[end, *ids[:t]]])).logits[0, -1].log_softmax(-1)[token].item()
    logps, tokens = text_logps(tiny_model, tiny_tokenizer, ["Rome is in Italy."])
    assert logps.item() == pytest.approx(expected, rel=1e-5) and tokens.item() == len(ids)


def test_it_is_the_response_to_an_empty_prompt_whatever_the_batch(tiny_model, tiny_tokenizer, texts):
    pairs = [PreferencePair("", text, text) for text in texts]
    with torch.no_grad():
        expected = response_logps(tiny_model, tiny_tokenizer, pairs)[0]
    torch.testing.assert_close(text_logps(tiny_model, tiny_tokenizer, texts)[0], expected, rtol=1e-5, atol=1e-4)


def test_a_model_that_knows_nothing_has_the_cross_entropy_log_vocabulary(tiny_model, tiny_tokenizer, texts):
    with torch.no_grad():
        tiny_model.transformer.ln_f.weight.zero_()
        tiny_model.transformer.ln_f.bias.zero_()
    assert nats_per_token(tiny_model, tiny_tokenizer, texts) == pytest.approx(math.log(400), rel=1e-5)
    assert next_token_logits(tiny_model, tiny_tokenizer, "Rome").unique().numel() == 1


def test_long_texts_count_more_than_short_ones(tiny_model, tiny_tokenizer, texts):
    logps, tokens = text_logps(tiny_model, tiny_tokenizer, texts)
    assert nats_per_token(tiny_model, tiny_tokenizer, texts) == pytest.approx((-logps.sum() / tokens.sum()).item())


@pytest.mark.parametrize(
    ("texts", "words"), [([], "at least one text"), ("Rome", "at least one text"), (["Rome " * 200], "at most 96")]
)
def test_what_cannot_be_scored_is_refused(tiny_model, tiny_tokenizer, texts, words):
    with pytest.raises(InputError, match=words):
        text_logps(tiny_model, tiny_tokenizer, texts)


@pytest.mark.parametrize("text", ["Where is Rome?", "Where is Rome? ", ""])
def test_the_next_token_is_read_as_sampling_reads_a_prompt(tiny_model, tiny_tokenizer, text):
    (ids,) = encode_prompts(tiny_tokenizer, [text], max_length=96)
    expected = tiny_model(torch.tensor([ids])).logits[0, -1]
    torch.testing.assert_close(next_token_logits(tiny_model, tiny_tokenizer, text), expected)
