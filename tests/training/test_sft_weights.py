"""Fine-tuning weighs every token of an epoch alike, although its steps hold responses of like length."""

import pytest

from dpo_notes.language.score import response_logps
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.sft import SFTConfig, train_sft


def test_the_mean_loss_of_an_epoch_is_the_mean_over_all_its_tokens(tiny_model, tiny_pairs, tiny_tokenizer):
    """Three steps of eight responses each, hardly moving. The mean of each step's own mean would favour short ones."""
    tokens = sum(len(pair.chosen) for pair in encode_pairs(tiny_tokenizer, tiny_pairs, max_length=96))
    expected = -response_logps(tiny_model, tiny_tokenizer, tiny_pairs)[0].sum().item() / tokens
    config = SFTConfig(batch_size=8, learning_rate=1e-12)
    losses = [row["loss"] for row in train_sft(tiny_model, tiny_pairs, tiny_tokenizer, config)]
    assert len(losses) == 3 and sum(losses) / 3 == pytest.approx(expected, rel=1e-5)
