"""The price of being better than the data: by hand, by search, and at its limits."""

import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.imitation import price_of_share
from dpo_notes.worlds.finite.world import minimise


def of(data_share: float, policy_share: float) -> float:
    return price_of_share(*doubles(data_share, policy_share)).item()


def test_a_fifth_against_a_hundredth_by_hand():
    """0.2 log 20 + 0.8 log(0.8 / 0.99) = 0.5991 - 0.1705."""
    assert of(0.2, 0.01) == pytest.approx(0.2 * math.log(20) + 0.8 * math.log(80 / 99))


def test_known_values():
    assert of(0.3, 0.3) == 0
    assert of(1.0, 0.5) == pytest.approx(math.log(2))
    assert of(0.0, 0.5) == pytest.approx(math.log(2))
    assert of(0.2, 0.0) == math.inf


def test_no_policy_with_this_share_has_a_lower_price_and_one_has_this_price():
    """Responses 0 and 1 have the habit. A policy with share b is b * softmax(2 logits), (1 - b) * softmax(3 logits)."""
    generator = seeded()
    data = torch.randn(5, generator=generator, dtype=torch.float64).log_softmax(0)
    share = torch.tensor(0.05, dtype=torch.float64)

    def loss_of(logits):
        policy = torch.cat((share.log() + logits[:2].log_softmax(0), (1 - share).log() + logits[2:].log_softmax(0)))
        return -data.exp() @ policy

    entropy = -data.exp() @ data
    best = loss_of(minimise(loss_of, torch.zeros(5, dtype=torch.float64)))
    torch.testing.assert_close(best - entropy, price_of_share(data[:2].exp().sum(), share))


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_what_is_no_share_is_refused(share, types_unchecked):
    with pytest.raises(InputError, match="^policy_share is .*; expected numbers from 0 to 1$"):
        of(0.2, share)
