"""Where losses lead in the world of two answers: closed forms against the search for the least loss."""

import math
from functools import partial

import pytest
import torch
from tensors import doubles

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.loss_family import exo_loss, hinge_loss, ipo_loss, robust_loss, simpo_loss
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.worlds.finite.two_answers import answer_logratios, expected_loss, expected_push, leading_margin
from dpo_notes.worlds.finite.world import minimise

BETA = 0.4
each_preference = pytest.mark.parametrize("p", [0.55, 0.75, 0.9, 0.99])


def logit(p):
    return math.log(p / (1 - p))


def test_logratios_are_those_of_a_policy_with_this_margin():
    margins = doubles(-3.0, 0.0, 5.0)
    first, second = answer_logratios(margins)
    torch.testing.assert_close(first.exp() / 2 + second.exp() / 2, torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(first - second, margins)


def test_the_mean_over_labels_by_hand():
    """p = 3/4, beta 1, margin log 3: sigma is 3/4, so that the loss is the entropy of 3/4."""
    loss = expected_loss(dpo_loss, torch.tensor([math.log(3)]), beta=1.0, preference=0.75)
    assert loss.item() == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


@each_preference
def test_the_push_of_dpo_is_beta_times_how_far_its_probability_is_off(p):
    margins = torch.linspace(-9, 9, 7, dtype=torch.float64)
    expected = BETA * (p - torch.sigmoid(BETA * margins))
    torch.testing.assert_close(expected_push(dpo_loss, margins, beta=BETA, preference=p), expected)


@each_preference
@pytest.mark.parametrize(
    ("loss_fn", "closed_form"),
    [
        (dpo_loss, lambda p: logit(p) / BETA),
        (partial(dpo_loss, label_smoothing=0.1), lambda p: logit(0.9 * p + 0.1 * (1 - p)) / BETA),
        (partial(robust_loss, label_smoothing=0.005), lambda p: logit((p - 0.005) / 0.99) / BETA),
        (ipo_loss, lambda p: (2 * p - 1) / (2 * BETA)),
        (hinge_loss, lambda p: 1 / BETA),
        (partial(exo_loss, label_smoothing=0.01), lambda p: (2 * p - 1) * logit(0.99) / BETA),
    ],
    ids=["dpo", "cdpo", "robust", "ipo", "hinge", "exo"],
)
def test_a_loss_leads_where_its_closed_form_says(loss_fn, closed_form, p):
    assert leading_margin(loss_fn, beta=BETA, preference=p) == pytest.approx(closed_form(p), abs=1e-9)


def test_the_search_agrees_with_descent_for_a_loss_without_closed_form():
    def loss_of(margin):
        return expected_loss(simpo_loss, margin, beta=BETA, preference=0.8).sum()

    walked = minimise(loss_of, torch.zeros(1, dtype=torch.float64)).item()
    assert leading_margin(simpo_loss, beta=BETA, preference=0.8) == pytest.approx(walked, abs=1e-6)


def test_a_loss_without_a_place_to_stop_leads_to_infinity():
    assert leading_margin(dpo_loss, beta=BETA, preference=1.0) == math.inf
    assert leading_margin(dpo_loss, beta=BETA, preference=0.0) == -math.inf
    assert leading_margin(partial(robust_loss, label_smoothing=0.3), beta=BETA, preference=0.8) == math.inf


def test_preference_and_beta_have_their_ranges():
    with pytest.raises(InputError, match="preference is 1.2"):
        leading_margin(dpo_loss, beta=BETA, preference=1.2)
    with pytest.raises(InputError, match="beta is 0"):
        leading_margin(dpo_loss, beta=0, preference=0.5)
