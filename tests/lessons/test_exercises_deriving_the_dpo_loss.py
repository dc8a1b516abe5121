"""The expected answers of notebook 08 computed in a second way; test_exercises.py tests their mistakes."""

import math

import pytest
import torch

from dpo_notes.lessons.deriving_the_dpo_loss.exercises import HALF, PROBS, RANKINGS, REWARDS
from dpo_notes.lessons.deriving_the_dpo_loss.explorers import BETAS, both_paths
from dpo_notes.maths.optimum import implicit_reward, optimal_policy
from dpo_notes.teaching.checking import exercise
from dpo_notes.worlds.finite.log_linear import chosen_slope
from dpo_notes.worlds.finite.world import FiniteWorld, fit_dpo

pytestmark = pytest.mark.notebooks


def test_the_loss_by_hand():
    """The margin is 0.1 * (3 + 2)."""
    assert exercise("08.1").expected == pytest.approx(math.log(1 + math.exp(-0.5)))


def test_the_representative_is_the_implicit_reward_of_the_best_policy():
    best = optimal_policy(REWARDS, HALF, beta=0.5)
    torch.testing.assert_close(exercise("08.2").expected, implicit_reward(best, HALF, beta=0.5))


def test_the_two_prompts_by_their_best_policies():
    first, second = (optimal_policy(torch.tensor([math.log(k), 0.0]).double(), HALF, beta=1.0) for k in (3, 9))
    assert exercise("08.3").expected == pytest.approx([1 / 4, torch.sigmoid(first[0] - second[0]).item()])


def test_the_pull_of_the_pair_that_is_wrong():
    assert exercise("08.4").expected == pytest.approx(math.exp(2))


def test_the_odds_at_the_minimum_are_those_that_dpo_finds():
    world = FiniteWorld(torch.tensor([9.0, 1.0], dtype=torch.float64).log(), HALF)
    ends = [fit_dpo(world, beta=beta) for beta in (1.0, 0.5)]
    assert exercise("08.5").expected == pytest.approx([(end[0] - end[1]).exp().item() for end in ends], rel=1e-5)


def test_the_readings_are_what_the_explorer_draws():
    path = both_paths(0.5, 1.0)["SGD"]
    assert exercise("08.6").expected == [BETAS[path[steps].argmax()] for steps in (10, 100)]


def test_the_slopes_sum_to_zero_and_hold_the_packages():
    features, chosen, rejected, _ = exercise("08.7").cases[0]
    for probs in PROBS:
        slopes = exercise("08.7").expected(features, chosen, rejected, probs)
        torch.testing.assert_close(probs @ slopes, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-15)
    uniform = torch.full((4,), 0.25, dtype=torch.float64)
    slope = chosen_slope(features, torch.zeros(2, dtype=torch.float64), chosen=chosen, rejected=rejected)
    torch.testing.assert_close(exercise("08.7").expected(features, chosen, rejected, uniform)[chosen], slope)


def test_the_probabilities_of_all_rankings_sum_to_one():
    """All orders of three responses, each with the probability that the loss gives to it."""
    logratios, beta = RANKINGS[0]
    orders = torch.cartesian_prod(*[torch.arange(3)] * 3)
    orders = orders[[len(set(order)) == 3 for order in orders.tolist()]]
    losses = torch.stack([exercise("08.8").expected(logratios[order], beta) for order in orders])
    assert (-losses).exp().sum().item() == pytest.approx(1)
