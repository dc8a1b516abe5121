"""What a choice tells: by hand, and as mutual information written out."""

import math

import pytest
import torch
from tensors import doubles

from dpo_notes.maths.choice import BITS_PER_NAT, choice_information
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence


def test_a_coin_tells_nothing_and_certainty_one_bit():
    information = choice_information(doubles(0.5, 1.0, 0.0)) * BITS_PER_NAT
    torch.testing.assert_close(information, doubles(0.0, 1.0, 1.0), rtol=0, atol=1e-12)


def test_three_quarters_by_hand():
    """1 + 3/4 log2 3/4 + 1/4 log2 1/4 = 1 + 3/4 log2 3 - 2 = 0.1887 bits."""
    information = choice_information(doubles(0.75, 0.25)) * BITS_PER_NAT
    assert information.tolist() == pytest.approx([0.75 * math.log2(3) - 1] * 2)


def test_it_is_the_divergence_of_truth_and_choice_together_from_the_two_apart():
    p = 0.8
    together = doubles(p, 1 - p, 1 - p, p) / 2
    apart = torch.full((4,), 0.25, dtype=torch.float64)
    information = choice_information(torch.tensor(p, dtype=torch.float64))
    assert information.item() == pytest.approx(kl_divergence(together.log(), apart.log()).item())


def test_what_is_no_probability_is_refused():
    with pytest.raises(InputError, match="expected numbers from 0 to 1"):
        choice_information(torch.tensor([1.5]))
