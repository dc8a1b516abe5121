"""One comparison through a run: log-ratios of tokens, whose sums are those of the responses."""

import copy

import pytest
import torch

from dpo_notes.language.score import response_logps
from dpo_notes.lessons.training_gpt2_with_dpo.snapshots import Snapshots


@pytest.fixture
def moved(tiny_model):
    """The model with other weights, and therefore other log-probabilities."""
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.01)
    return other


def test_token_log_ratios_sum_to_those_of_the_responses(tiny_model, moved, tiny_tokenizer, tiny_pairs):
    tiny_model.double(), moved.double()  # the two ways differ in rounding, by machine: small beside the tolerance now
    snapshots = Snapshots(tiny_model, tiny_tokenizer, tiny_pairs[:3], seed=0)
    snapshots.take(moved, step=7)
    (taken,) = snapshots.taken
    after, before = (response_logps(model, tiny_tokenizer, tiny_pairs[:3]) for model in (moved, tiny_model))
    for side, now, then in zip((taken.chosen, taken.rejected), after, before, strict=True):
        torch.testing.assert_close(torch.stack([ratios.sum() for ratios in side]), (now - then).detach())
    assert taken.step == 7
    assert [len(words) for both in snapshots.words for words in both] == [
        len(ratios) for pair in zip(taken.chosen, taken.rejected, strict=True) for ratios in pair
    ]
    assert all(words[-1] == "end of text" for both in snapshots.words for words in both)


def test_the_reference_itself_has_log_ratios_of_0_and_the_same_chance_gives_the_same_answers(
    tiny_model, tiny_tokenizer, tiny_pairs
):
    snapshots = Snapshots(tiny_model, tiny_tokenizer, tiny_pairs[:2], seed=0)
    for step in (0, 1):
        snapshots.take(copy.deepcopy(tiny_model), step=step)
    one, other = snapshots.taken
    assert not any(ratios.any() for ratios in (*one.chosen, *one.rejected))
    assert one.answers == other.answers
