"""AOT and KTO: good and bad responses that are not pairs."""

import math

import pytest
import torch
from tensors import doubles

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.unpaired import aot_loss, kto_baseline, kto_loss

CHOSEN = doubles(2.0, -3.0, 0.6, 0.1, -1.0)
REJECTED = doubles(-1.0, 1.0, 0.5, -2.5, -4.0)
ZERO = torch.tensor(0.0, dtype=torch.float64)


def test_aot_compares_ranks_and_ignores_the_order_of_the_batch():
    sorted_loss = dpo_loss(CHOSEN.sort().values, REJECTED.sort().values, beta=0.3)
    torch.testing.assert_close(aot_loss(CHOSEN, REJECTED, beta=0.3), sorted_loss)
    shuffled = aot_loss(CHOSEN[[3, 1, 4, 0, 2]], REJECTED[[2, 0, 1, 4, 3]], beta=0.3)
    torch.testing.assert_close(shuffled, sorted_loss)


def test_kto_by_hand():
    """z = 1, beta 0.5, 1 - sigma(x) = 1 / (1 + e^x). Chosen 3: x = 0.5 * (3 - 1) = 1. Rejected 0, -1: x = 0.5 and 1.

    The rejected ones have weight 2.
    """
    baseline = torch.tensor(1.0, dtype=torch.float64)
    loss = kto_loss(doubles(3.0), doubles(0.0, -1.0), beta=0.5, kl_baseline=baseline, undesirable_weight=2.0)
    assert loss.tolist() == pytest.approx([1 / (1 + math.e), 2 / (1 + math.exp(0.5)), 2 / (1 + math.e)])


def test_kto_at_the_reference_is_half_of_each_weight():
    zeros, baseline = torch.zeros(2), kto_baseline(torch.zeros(4))
    loss = kto_loss(zeros, zeros, beta=0.1, kl_baseline=baseline, desirable_weight=1.5, undesirable_weight=3.0)
    assert loss.tolist() == [0.75, 0.75, 1.5, 1.5]


@pytest.mark.parametrize(("n_chosen", "n_rejected"), [(3, 0), (0, 3)])
def test_kto_takes_a_batch_of_one_kind(n_chosen, n_rejected):
    loss = kto_loss(torch.zeros(n_chosen), torch.zeros(n_rejected), beta=0.1, kl_baseline=torch.tensor(0.0))
    assert loss.tolist() == [0.5] * 3


def test_no_gradient_flows_through_the_kto_baseline():
    mismatched = CHOSEN.clone().requires_grad_()
    assert not kto_baseline(mismatched).requires_grad
    live = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    chosen = CHOSEN.clone().requires_grad_()
    kto_loss(chosen, REJECTED, beta=0.5, kl_baseline=live).sum().backward()
    assert live.grad is None and chosen.grad.abs().min() > 0


def test_the_kto_baseline_is_the_mean_log_ratio_but_never_below_zero():
    """(1 + 2 - 1.5) / 3 = 0.5; (1 - 2) / 2 = -0.5, taken as 0."""
    assert kto_baseline(torch.tensor([1.0, 2.0, -1.5])).item() == 0.5
    assert kto_baseline(torch.tensor([1.0, -2.0])).item() == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"desirable_weight": 0.0}, "desirable_weight is 0.0"),
        ({"undesirable_weight": -1.0}, "undesirable_weight is -1.0"),
        ({"kl_baseline": torch.zeros(5)}, r"kl_baseline has shape \(5,\); expected \(\)"),
        ({"kl_baseline": torch.tensor(0)}, "kl_baseline has dtype torch.int64"),
        ({"chosen_logratios": torch.zeros(1, 5)}, r"chosen_logratios has shape \(1, 5\); expected \(examples,\)"),
        ({"rejected_logratios": torch.zeros(())}, r"rejected_logratios has shape \(\); expected \(examples,\)"),
    ],
)
def test_kto_refuses_what_would_fail_silently(change, message, types_unchecked):
    good = {"chosen_logratios": CHOSEN, "rejected_logratios": REJECTED, "beta": 0.1, "kl_baseline": ZERO}
    with pytest.raises(InputError, match=message):
        kto_loss(**good | change)


@pytest.mark.parametrize("shape", [(0,), (2, 3), ()])
def test_the_kto_baseline_needs_one_value_per_example(shape, types_unchecked):
    with pytest.raises(InputError, match="expected one value per example, at least one"):
        kto_baseline(torch.zeros(shape))
