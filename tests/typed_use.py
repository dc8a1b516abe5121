"""A program that uses the public names, for mypy: what it learns of their types is what an editor shows. It is not run."""

from typing import assert_type

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import dpo_notes


def train(path: str) -> list[dict[str, float]]:
    model, tokenizer = dpo_notes.load_model()
    assert_type(model, PreTrainedModel)
    assert_type(tokenizer, PreTrainedTokenizerBase)
    pairs = dpo_notes.load_pairs(path)
    assert_type(pairs, list[dpo_notes.PreferencePair])
    config = dpo_notes.DPOConfig(beta=0.2)
    training = dpo_notes.train_dpo(model, dpo_notes.frozen_copy(model), pairs, tokenizer, config, loss="ipo")
    assert_type(training, dpo_notes.Training)
    generator = torch.Generator().manual_seed(0)
    said = dpo_notes.sample(model, tokenizer, ["Where is Paris?"], generator=generator, max_new_tokens=9)
    assert_type(said, list[str])
    own = dpo_notes.PreferenceLoss(dpo_notes.dpo_loss, reduction="mean")
    assert_type(dpo_notes.LOSSES["dpo"] == own, bool)
    return training.finish()
