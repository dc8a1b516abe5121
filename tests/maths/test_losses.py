"""The DPO loss, its gradient weight, and the metrics of training logs."""

import math

import pytest
import torch
from tensors import doubles
from torch.nn.functional import binary_cross_entropy_with_logits

from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_gradient_weight, dpo_loss, preference_metrics
from dpo_notes.maths.optimum import implicit_reward

CHOSEN = doubles(2.0, -3.0, 0.5, 0.0, -1.0)
REJECTED = doubles(-1.0, 1.0, 0.5, -2.5, -4.0)


def test_one_pair_by_hand():
    """Log-ratios 2 and -1, beta 0.5: margin 0.5 * (2 + 1) = 1.5; log(1 + e^-1.5) = log(1.2231302) = 0.2014133."""
    loss = dpo_loss(doubles(2.0), doubles(-1.0), beta=0.5)
    assert loss.item() == pytest.approx(0.2014132779827524, rel=1e-12)


def test_one_pair_with_label_smoothing_by_hand():
    """As above with e = 0.1: 0.9 * 0.2014133 + 0.1 * (0.2014133 + 1.5) = 0.2014133 + 0.15 = 0.3514133."""
    loss = dpo_loss(doubles(2.0), doubles(-1.0), beta=0.5, label_smoothing=0.1)
    assert loss.item() == pytest.approx(0.3514132779827524, rel=1e-12)


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_loss_is_log_2_where_policy_equals_reference(beta, label_smoothing):
    zeros = torch.zeros(3)
    loss = dpo_loss(zeros, zeros, beta=beta, label_smoothing=label_smoothing)
    torch.testing.assert_close(loss, torch.full((3,), math.log(2)), rtol=0, atol=1e-7)


def test_dpo_is_bradley_terry_on_implicit_rewards():
    """The naive route: policy and reference log-probabilities, implicit rewards, their probability, its logarithm."""
    reference = torch.linspace(-9, -5, 5, dtype=torch.float64)
    rewards = [implicit_reward(reference + ratios, reference, beta=0.3) for ratios in (CHOSEN, REJECTED)]
    torch.testing.assert_close(dpo_loss(CHOSEN, REJECTED, beta=0.3), -preference_probability(*rewards).log())


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.49])
def test_smoothed_loss_is_cross_entropy_with_a_soft_label(label_smoothing):
    soft_label = torch.full_like(CHOSEN, 1 - label_smoothing)
    oracle = binary_cross_entropy_with_logits(0.7 * (CHOSEN - REJECTED), soft_label, reduction="none")
    torch.testing.assert_close(dpo_loss(CHOSEN, REJECTED, beta=0.7, label_smoothing=label_smoothing), oracle)


def test_the_same_shift_of_both_log_ratios_changes_nothing():
    """What depends on the prompt alone, such as beta log Z, cancels."""
    shift = doubles(5.0, -2.0, 0.1, 30.0, -7.0)
    torch.testing.assert_close(
        dpo_loss(CHOSEN + shift, REJECTED + shift, beta=0.2), dpo_loss(CHOSEN, REJECTED, beta=0.2)
    )


def test_swapping_the_pair_adds_the_margin():
    """-log sigma(-m) - (-log sigma(m)) = m."""
    swapped = dpo_loss(REJECTED, CHOSEN, beta=0.2) - dpo_loss(CHOSEN, REJECTED, beta=0.2)
    torch.testing.assert_close(swapped, 0.2 * (CHOSEN - REJECTED))


def test_the_gradient_is_beta_times_the_weight_on_both_sides():
    chosen, rejected = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    dpo_loss(chosen, rejected, beta=0.3).sum().backward()
    weight = dpo_gradient_weight(CHOSEN, REJECTED, beta=0.3)
    torch.testing.assert_close(chosen.grad, -0.3 * weight)
    torch.testing.assert_close(rejected.grad, 0.3 * weight)


def test_the_weight_is_how_wrong_the_rewards_are():
    """beta 1: log-ratios 0 and log 3 give the wrong order probability 3/4, equal ones 1/2."""
    zero, log_3 = doubles(0.0), doubles(math.log(3))
    assert dpo_gradient_weight(zero, log_3, beta=1.0).item() == pytest.approx(0.75)
    assert dpo_gradient_weight(log_3, zero, beta=1.0).item() == pytest.approx(0.25)
    assert dpo_gradient_weight(zero, zero, beta=1.0).item() == 0.5


@pytest.mark.parametrize("probability", [0.6, 0.9])
def test_noisy_labels_are_fitted_by_a_margin_of_logit_p(probability):
    """Both orders in proportion p to 1 - p: the gradient vanishes at beta * (h_w - h_l) = log(p / (1 - p))."""
    logratio = doubles(math.log(probability / (1 - probability)) / 0.3).requires_grad_()
    zero = doubles(0.0)
    loss = probability * dpo_loss(logratio, zero, beta=0.3) + (1 - probability) * dpo_loss(zero, logratio, beta=0.3)
    loss.sum().backward()
    assert abs(logratio.grad.item()) < 1e-12


def test_label_smoothing_puts_the_minimum_at_a_finite_margin():
    """e = 0.2: the margin log(0.8 / 0.2) = log 4 has no gradient, a larger one is pushed back."""
    margin = torch.tensor([math.log(4), 3.0], dtype=torch.float64, requires_grad=True)
    dpo_loss(margin, torch.zeros_like(margin), beta=1.0, label_smoothing=0.2).sum().backward()
    assert abs(margin.grad[0].item()) < 1e-12
    assert margin.grad[1].item() > 0.1


@pytest.mark.parametrize("label_smoothing", [0.0, 0.25])
def test_margins_of_ten_thousand_stay_finite_in_float32(label_smoothing):
    """Margin ±1e4: losses 0 and 1e4, and with e = 0.25 the other side's share: 0.25e4 and 0.75e4."""
    chosen = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = dpo_loss(chosen, torch.zeros(2), beta=1.0, label_smoothing=label_smoothing)
    loss.sum().backward()
    assert loss.tolist() == [label_smoothing * 1e4, (1 - label_smoothing) * 1e4]
    assert chosen.grad.tolist() == [label_smoothing, label_smoothing - 1]


def test_loss_passes_gradcheck():
    inputs = (CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda w, x: dpo_loss(w, x, beta=0.4, label_smoothing=0.1), inputs)


def test_metrics_by_hand():
    """beta 0.5, log-ratios (2, -1) and (-3, 1): rewards (1, -0.5) and (-1.5, 0.5), margins 1.5 and -2."""
    metrics = preference_metrics(CHOSEN[:2], REJECTED[:2], beta=0.5)
    assert {name: values.tolist() for name, values in metrics.items()} == {
        "rewards/chosen": [1.0, -1.5],
        "rewards/rejected": [-0.5, 0.5],
        "rewards/margins": [1.5, -2.0],
        "rewards/accuracies": [1.0, 0.0],
    }


def test_a_tie_is_not_accurate():
    assert preference_metrics(torch.zeros(2), torch.zeros(2), beta=0.1)["rewards/accuracies"].tolist() == [0.0, 0.0]


def test_metrics_carry_no_gradient():
    metrics = preference_metrics(CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_(), beta=0.5)
    assert not any(values.requires_grad for values in metrics.values())


@pytest.mark.parametrize("function", [dpo_loss, dpo_gradient_weight, preference_metrics])
@pytest.mark.parametrize(
    ("chosen", "rejected", "beta", "message"),
    [
        (torch.zeros(3), torch.zeros(3), 0.0, "beta is 0.0"),
        (torch.zeros(3), torch.zeros(3), math.nan, "beta is nan"),
        (torch.zeros(3), torch.zeros(1), 0.1, r"chosen_logratios \(3,\), rejected_logratios \(1,\)"),
        (torch.zeros(3, 7), torch.zeros(3, 7), 0.1, r"shape \(3, 7\); expected one value per pair"),
        (torch.zeros(3).long(), torch.zeros(3), 0.1, "chosen_logratios has dtype torch.int64"),
    ],
)
def test_what_would_fail_silently_is_refused(function, chosen, rejected, beta, message, types_unchecked):
    with pytest.raises(InputError, match=message):
        function(chosen, rejected, beta=beta)


@pytest.mark.parametrize("label_smoothing", [0.5, 1.0, -0.1, math.nan])
def test_label_smoothing_outside_its_range_is_refused(label_smoothing):
    with pytest.raises(InputError, match="label_smoothing"):
        dpo_loss(torch.zeros(1), torch.zeros(1), beta=0.1, label_smoothing=label_smoothing)
