"""Baselines by hand, and what they do to an advantage."""

import pytest
import torch

from dpo_notes.maths.baselines import batch_mean, leave_one_out, no_baseline
from dpo_notes.maths.errors import InputError

REWARDS = torch.tensor([[1.0, 2.0, 6.0], [0.0, -1.0, 4.0]])


def test_by_hand():
    """Of 1, 2, 6 the others' means are (2 + 6) / 2, (1 + 6) / 2, (1 + 2) / 2; of 0, -1, 4 they are 1.5, 2, -0.5."""
    assert no_baseline(REWARDS).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert batch_mean(REWARDS).tolist() == [[3, 3, 3], [1, 1, 1]]
    assert leave_one_out(REWARDS).tolist() == [[4, 3.5, 1.5], [1.5, 2, -0.5]]


def test_a_baseline_of_the_others_does_not_depend_on_the_own_reward():
    rewards = torch.tensor([1.0, 2.0, 6.0, -3.0], requires_grad=True)
    slopes = torch.autograd.functional.jacobian(leave_one_out, rewards)
    assert slopes.diagonal().tolist() == [0, 0, 0, 0]


def test_leaving_one_out_stretches_the_advantage_of_the_batch_mean():
    torch.testing.assert_close(REWARDS - leave_one_out(REWARDS), 3 / 2 * (REWARDS - batch_mean(REWARDS)))


@pytest.mark.parametrize("rewards", [torch.zeros(4, 1), torch.zeros(0)])
def test_without_others_there_is_nothing_to_compare_with(rewards):
    with pytest.raises(InputError, match="at least two samples"):
        leave_one_out(rewards)
