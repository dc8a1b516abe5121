"""What is special to the exercises of notebook 03: the expected answers by a second route."""

import pytest
import torch

from dpo_notes.lessons.reinforcement_learning.exercises import best_baseline
from dpo_notes.teaching.checking import exercise

pytestmark = pytest.mark.notebooks


def test_a_broom_of_minus_5_is_crossed_between_the_two_discounts():
    """-5 + 100 g^4 against 100 g^6: equal at both ends, and more just inside them."""
    low, high = exercise("03.2").expected
    for discount in (low, high):
        assert -5 + 100 * discount**4 == pytest.approx(100 * discount**6)
    for inside in (low + 1e-3, high - 1e-3):
        assert -5 + 100 * inside**4 > 100 * inside**6


@pytest.mark.parametrize("case", exercise("03.7").cases)
def test_best_baseline_has_the_least_variance_of_any_nearby(case):
    policy, returns = case
    scores = torch.eye(len(policy), dtype=torch.float64) - policy

    def variance(baseline):
        gradients = (returns - baseline)[:, None] * scores
        mean = policy @ gradients
        return policy @ (gradients - mean).square().sum(dim=1)

    best = best_baseline(policy, returns)
    assert all(variance(best) < variance(best + step) for step in (-0.1, 0.1, -3.0, 3.0))


def test_the_batch_mean_shrinks_the_gradient_by_a_quarter():
    """Four independent plays of two moves, all 16 outcomes with their probabilities, for 03.6."""
    policy, returns = torch.tensor([0.3, 0.7], dtype=torch.float64), torch.tensor([5.0, 1.0], dtype=torch.float64)
    scores = torch.eye(2, dtype=torch.float64) - policy
    plays = torch.cartesian_prod(*[torch.arange(2)] * 4)
    advantages = returns[plays] - returns[plays].mean(dim=1, keepdim=True)
    estimates = (advantages[..., None] * scores[plays]).mean(dim=1)
    mean = policy[plays].prod(dim=1) @ estimates
    torch.testing.assert_close(mean, exercise("03.6").expected * (policy * returns) @ scores)
