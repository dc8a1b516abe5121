"""Pretraining from nothing: the tokenizer, the blocks, and a loss that starts at log(vocabulary) and falls."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.logps import token_logps
from dpo_notes.training.pretrain import (
    END_OF_TEXT,
    PretrainConfig,
    new_model,
    pack_blocks,
    pretrain,
    text_attention,
    train_tokenizer,
)
from dpo_notes.worlds.reviews.world import sample_documents

SMALL = {"context": 48, "layers": 1, "channels": 32, "heads": 2, "batch_size": 8, "warmup_steps": 5}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [document.text for document in sample_documents(300, generator=torch.Generator().manual_seed(3))]


@pytest.fixture(scope="module")
def letters() -> PreTrainedTokenizerFast:
    """One token a letter: end of text is 0, a is 1, b is 2, c is 3, d is 4."""
    tokenizer = Tokenizer(models.WordLevel({END_OF_TEXT: 0, "a": 1, "b": 2, "c": 3, "d": 4}, unk_token=END_OF_TEXT))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, bos_token=END_OF_TEXT)


@given(st.text())
@settings(deadline=None, max_examples=300)
def test_any_text_comes_back_from_its_tokens(tiny_tokenizer, text):
    """Byte-level: what was never seen in training is spelled out in bytes."""
    ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tiny_tokenizer.decode(ids) == text
    assert all(0 <= token < len(tiny_tokenizer) for token in ids)


def test_the_tokenizer_has_the_size_asked_for_and_one_special_token(tiny_tokenizer):
    assert len(tiny_tokenizer) == 400
    assert tiny_tokenizer.eos_token_id == tiny_tokenizer.bos_token_id == tiny_tokenizer.pad_token_id == 0
    assert tiny_tokenizer.all_special_tokens == [END_OF_TEXT]


def test_frequent_words_are_one_token_with_their_space_and_training_again_gives_the_same(texts):
    first, second = (train_tokenizer(texts, vocabulary_size=400) for _ in range(2))
    assert first.tokenize(" The is") == ["ĠThe", "Ġis"]
    assert first.get_vocab() == second.get_vocab()


def test_blocks_by_hand(letters):
    """Five times "a b", in blocks of 8. Every other text has an end before it as well: a b E, E a b E, a b E, …

    Texts 0, 1, 2 make a b E E a b E a b E: the last two tokens are left over and dropped. Texts 3, 4 make
    E a b E a b E, one too few for a block: dropped.
    """
    input_ids, positions = pack_blocks(letters, ["a b"] * 5, length=8, generator=torch.Generator())
    assert input_ids.tolist() == [[1, 2, 0, 0, 1, 2, 0, 1]]
    assert positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 0]]


def test_each_text_comes_at_most_once_in_random_order_and_few_tokens_are_dropped(tiny_tokenizer, texts):
    end = tiny_tokenizer.eos_token_id
    input_ids, positions = pack_blocks(tiny_tokenizer, texts, length=512, generator=torch.Generator().manual_seed(1))
    found = []
    for ids, places in zip(input_ids.tolist(), positions.tolist(), strict=True):
        starts = [index for index, place in enumerate(places) if place == 0]
        assert starts[0] == 0
        for first, last in zip(starts, [*starts[1:], len(ids)], strict=True):
            assert places[first:last] == list(range(last - first))
            if ids[last - 1] == end and last - first > 1:  # a whole text, not one cut at the end of its block
                found.append(tiny_tokenizer.decode(ids[first:last]).replace(END_OF_TEXT, ""))
    assert set(found) <= set(texts)
    assert len(found) > 0.5 * len(texts)
    assert max(map(found.count, found)) <= max(map(texts.count, texts))
    assert found != [text for text in texts if text in found]


def test_attention_by_hand():
    """Positions 0 1 0 1 2: two texts, of 2 and 3 tokens; each token looks at its own text up to itself."""
    by_hand = [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 1, 1, 1]]
    mask = text_attention(torch.tensor([[0, 1, 0, 1, 2]]))
    assert mask.shape == (1, 1, 5, 5)
    assert mask[0, 0].int().tolist() == by_hand


def test_the_loss_of_packed_texts_is_that_of_each_text_read_alone(new_tiny_model, tiny_tokenizer, texts):
    """Packing changes nothing: the mean over the predicted tokens of all pieces, each given to the model by itself."""
    model = new_tiny_model()
    config = PretrainConfig(**SMALL | {"batch_size": 3, "steps": 1, "context": 96})
    input_ids, positions = pack_blocks(tiny_tokenizer, texts, length=96, generator=torch.Generator().manual_seed(0))
    alone = []
    for ids, places in zip(input_ids[:3], positions[:3], strict=True):
        starts = (places == 0).nonzero().flatten().tolist()
        for first, last in zip(starts, [*starts[1:], len(ids)], strict=True):
            piece = ids[None, first:last]
            with torch.no_grad():
                alone += token_logps(model(input_ids=piece).logits, piece)[0, 1:].tolist()
    (row,) = pretrain(model, tiny_tokenizer, texts, config)
    assert row["loss"] == pytest.approx(-sum(alone) / len(alone), rel=1e-5)


def test_the_loss_starts_at_log_vocabulary_and_falls(tiny_tokenizer, texts):
    """log 400 = 5.99 nats a token; in 30 steps a small model learns at least which tokens are frequent."""
    config = PretrainConfig(**SMALL, steps=30)
    rows = list(pretrain(new_model(tiny_tokenizer, config), tiny_tokenizer, texts, config))
    assert [row["step"] for row in rows] == list(range(1, 31))
    assert rows[0]["loss"] == pytest.approx(math.log(400), abs=0.1)
    assert rows[-1]["loss"] < 5


def test_more_steps_than_the_texts_fill_go_through_them_again_in_another_order(letters):
    texts = ["a b c d", "d c b a", "b b", "c", "a a a"] * 4
    config = PretrainConfig(**SMALL | {"context": 8, "batch_size": 2}, steps=12)
    rows = list(pretrain(new_model(letters, config), letters, texts, config))
    assert len(rows) == 12
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_same_seed_gives_the_same_model_and_uses_no_other_random_numbers(tiny_tokenizer, texts):
    def new_weights(seed):
        torch.rand(3)  # moves on the random numbers that others use
        return new_model(tiny_tokenizer, PretrainConfig(**SMALL, seed=seed)).lm_head.weight

    def train(seed):
        config = PretrainConfig(**SMALL, steps=3, seed=seed)
        model = new_model(tiny_tokenizer, config)
        return [row["loss"] for row in pretrain(model, tiny_tokenizer, texts, config)], model.lm_head.weight

    assert torch.equal(new_weights(0), new_weights(0))
    assert not torch.equal(new_weights(0), new_weights(1))
    before = torch.get_rng_state()
    (first, weights), (second, same), (third, other) = train(0), train(0), train(1)
    assert torch.equal(before, torch.get_rng_state())
    assert first == second != third
    assert torch.equal(weights, same)
    assert not torch.equal(weights, other)


def test_a_new_model_has_the_shape_asked_for_and_no_dropout(tiny_tokenizer):
    config = PretrainConfig(**SMALL)
    model = new_model(tiny_tokenizer, config)
    assert model.transformer.wte.weight.shape == (400, 32)
    assert model.transformer.wpe.weight.shape == (48, 32)
    assert len(model.transformer.h) == 1
    assert model.config.eos_token_id == tiny_tokenizer.eos_token_id
    assert not any(module.p for module in model.modules() if isinstance(module, torch.nn.Dropout))


def test_texts_too_short_for_a_block_are_refused(letters):
    with pytest.raises(InputError, match=r"2 texts hold fewer than 48 tokens; expected"):
        pack_blocks(letters, ["a b", "c"], length=48, generator=torch.Generator())
