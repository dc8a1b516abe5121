"""Padding on the right never changes a score; on the left the model needs both mask and position ids."""

import pytest
import torch

from dpo_notes.language.score import batch_logps_readable
from dpo_notes.lessons.computing_log_probabilities.padded import TOLD, padded_logp
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.batches import collate

PROMPT, RESPONSE = [5, 6, 7], [8, 9, 10, 0]


@pytest.fixture
def exact(tiny_model):
    """The model in float64, and the log-probability without any padding."""
    model = tiny_model.double()
    with torch.no_grad():
        chosen, _ = batch_logps_readable(model, collate([PROMPT] * 2, [RESPONSE] * 2))
    return model, chosen.item()


@pytest.mark.parametrize("told", TOLD)
def test_padding_on_the_right_changes_nothing(exact, told):
    model, logp = exact
    padded = padded_logp(model, PROMPT, RESPONSE, padding=[0, 3, 0], side="right", told=told)
    assert padded == pytest.approx(logp, rel=1e-12)


def test_padding_on_the_left_needs_both_the_mask_and_the_positions(exact):
    model, logp = exact
    off = [
        abs(padded_logp(model, PROMPT, RESPONSE, padding=[3] * 5, side="left", told=told) - logp) / -logp
        for told in TOLD
    ]
    assert off[0] > 1e-3
    assert off[1] > 1e-3
    assert off[2] < 1e-12


def test_no_padding_is_no_error_whatever_is_told(exact):
    model, logp = exact
    for told in TOLD:
        assert padded_logp(model, PROMPT, RESPONSE, padding=[], side="left", told=told) == pytest.approx(
            logp, rel=1e-12
        )


def test_another_side_and_another_word_are_refused(tiny_model):
    with pytest.raises(InputError, match="expected one of"):
        padded_logp(tiny_model, PROMPT, RESPONSE, padding=[0], side="middle", told="nothing")
    with pytest.raises(InputError, match="attention mask"):
        padded_logp(tiny_model, PROMPT, RESPONSE, padding=[0], side="left", told="everything")
