"""CPO, SimPO and ORPO, by hand and at their limits."""

import math

import pytest
import torch
from tensors import doubles
from torch.autograd import grad, gradcheck

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.reference_free import cpo_loss, orpo_loss, simpo_loss

CHOSEN = doubles(-2.0, -3.0, -0.6, -0.1, -1.0)
REJECTED = doubles(-1.0, -1.5, -0.5, -2.5, -4.0)
REFERENCE_FREE = {"cpo": cpo_loss, "simpo": simpo_loss, "orpo": orpo_loss}


def of_one_pair(loss_fn, chosen: float, rejected: float, **settings: float) -> float:
    return loss_fn(*doubles([chosen], [rejected]), **settings).item()


def test_cpo_and_simpo_by_hand():
    """Log-probabilities -1 and -1.5, beta 2: margin 1, loss log(1 + e^-1); with gamma 0.6 it counts as 0.4."""
    assert of_one_pair(cpo_loss, -1.0, -1.5, beta=2.0) == pytest.approx(math.log(1 + math.exp(-1)))
    assert of_one_pair(simpo_loss, -1.0, -1.5, beta=2.0, gamma=0.6) == pytest.approx(math.log(1 + math.exp(-0.4)))


def test_simpo_asks_for_a_margin_of_gamma():
    """Equal means cost log(1 + e^0.6); means 0.3 apart at beta 2 have the margin 0.6 and cost log 2."""
    assert of_one_pair(simpo_loss, -1.0, -1.0, beta=2.0, gamma=0.6) == pytest.approx(math.log(1 + math.exp(0.6)))
    assert of_one_pair(simpo_loss, -1.0, -1.3, beta=2.0, gamma=0.6) == pytest.approx(math.log(2))


def test_cpo_is_dpo_with_a_uniform_reference():
    torch.testing.assert_close(cpo_loss(CHOSEN, REJECTED, beta=0.3), dpo_loss(CHOSEN + 9, REJECTED + 9, beta=0.3))


def test_orpo_by_hand():
    """Mean probabilities 1/2 and 1/4: odds 1 and 1/3, ratio 3; log 2 + 0.1 * (-log 3/4) = log 2 + 0.1 * log(4/3)."""
    loss = of_one_pair(orpo_loss, math.log(1 / 2), math.log(1 / 4), beta=0.1)
    assert loss == pytest.approx(math.log(2) + 0.1 * math.log(4 / 3), rel=1e-12)
    assert of_one_pair(orpo_loss, math.log(1 / 2), math.log(1 / 2), beta=0.1) == pytest.approx(1.1 * math.log(2))


def test_orpo_answers_log_ratios_above_zero_with_nan():
    assert math.isnan(of_one_pair(orpo_loss, 0.5, -1.0, beta=0.1))


@pytest.mark.parametrize("name", REFERENCE_FREE)
def test_loss_passes_gradcheck(name):
    inputs = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    assert gradcheck(lambda w, x: REFERENCE_FREE[name](w, x, beta=2.0), inputs)


@pytest.mark.parametrize("name", REFERENCE_FREE)
@pytest.mark.parametrize(("chosen", "rejected"), [(-1e4, 0.0), (0.0, -1e4), (-1e-9, -1e-12), (-1e4, -1e4)])
def test_log_probabilities_from_certain_to_impossible_stay_finite_in_float32(name, chosen, rejected):
    inputs = torch.tensor([chosen], requires_grad=True), torch.tensor([rejected], requires_grad=True)
    loss = REFERENCE_FREE[name](*inputs, beta=2.0)
    gradients = grad(loss.sum(), inputs)
    assert loss.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("name", REFERENCE_FREE)
@pytest.mark.parametrize(
    ("chosen", "rejected", "beta", "message"),
    [
        (torch.zeros(3), torch.zeros(3), 0.0, "beta is 0.0"),
        (torch.zeros(3), torch.zeros(1), 0.1, r"chosen_logps \(3,\), rejected_logps \(1,\); expected one shape"),
        (torch.zeros(3, 7), torch.zeros(3, 7), 0.1, "expected one value per pair"),
    ],
)
def test_what_would_fail_silently_is_refused(name, chosen, rejected, beta, message, types_unchecked):
    with pytest.raises(InputError, match=message):
        REFERENCE_FREE[name](chosen, rejected, beta=beta)
