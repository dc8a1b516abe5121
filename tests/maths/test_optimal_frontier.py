"""What the optimal policy buys at each price, and the price that leads to a given distance."""

import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimal_frontier import beta_for_kl, optimal_point
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.worlds.finite.world import random_world

HALF = doubles(0.5, 0.5).log()
ZERO_ONE = doubles(0.0, 1.0)


@pytest.fixture
def world():
    return random_world(8, generator=seeded(1))


def test_two_responses_by_hand():
    """Rewards 0 and log 3 at beta 1: the optimum is (1/4, 3/4); KL = 3/4 log 3/2 + 1/4 log 1/2 = 0.1308."""
    reward, kl = optimal_point(math.log(3) * ZERO_ONE, HALF, beta=1.0)
    assert reward.item() == pytest.approx(0.75 * math.log(3))
    assert kl.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_the_frontier_ends_at_the_reference_and_at_the_best_response(world):
    reward, kl = optimal_point(world.reward, world.ref_log_probs, beta=1e6)
    assert (reward.item(), kl.item()) == pytest.approx(((world.ref_log_probs.exp() @ world.reward).item(), 0), abs=1e-5)
    reward, kl = optimal_point(world.reward, world.ref_log_probs, beta=1e-3)
    best = world.reward.argmax()
    assert (reward.item(), kl.item()) == pytest.approx((world.reward[best].item(), -world.ref_log_probs[best].item()))


def test_its_slope_is_beta(world):
    (low_reward, low_kl), (high_reward, high_kl) = (
        optimal_point(world.reward, world.ref_log_probs, beta=beta) for beta in (0.5005, 0.4995)
    )
    assert ((high_reward - low_reward) / (high_kl - low_kl)).item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("kl", [1e-6, 0.05, 0.5, 1.3])
def test_the_beta_of_a_budget_spends_it(world, kl):
    beta = beta_for_kl(world.reward, world.ref_log_probs, kl=kl)
    assert optimal_point(world.reward, world.ref_log_probs, beta=beta)[1].item() == pytest.approx(kl, rel=1e-8)


def test_no_policy_within_the_budget_earns_more(world):
    """Random policies, drawn towards the reference until they spend the budget exactly."""
    most = optimal_point(
        world.reward, world.ref_log_probs, beta=beta_for_kl(world.reward, world.ref_log_probs, kl=0.3)
    )[0]
    logits = 3 * torch.randn(500, 8, generator=seeded(2), dtype=torch.float64)
    low, high = torch.zeros(500, 1).double(), torch.ones(500, 1).double()
    for _ in range(50):
        middle = (low + high) / 2
        policies = (world.ref_log_probs + middle * logits).log_softmax(-1)
        far = kl_divergence(policies, world.ref_log_probs.expand_as(policies))[:, None] > 0.3
        low, high = torch.where(far, low, middle), torch.where(far, middle, high)
    assert (policies.exp() @ world.reward).max() <= most


def test_a_hand_made_budget_has_the_beta_it_was_made_with():
    best = ZERO_ONE.log_softmax(-1)
    assert beta_for_kl(ZERO_ONE, HALF, kl=kl_divergence(best, HALF).item()) == pytest.approx(1)


@pytest.mark.parametrize("kl", [0.0, -1.0, math.log(2), 5.0, math.nan])
def test_a_budget_that_no_beta_spends_is_refused(kl):
    with pytest.raises(InputError, match=r"below 0\.693147"):
        beta_for_kl(ZERO_ONE, HALF, kl=kl)


def test_equal_rewards_leave_nothing_to_buy():
    with pytest.raises(InputError, match="below 0, where it ends"):
        beta_for_kl(torch.ones(2).double(), HALF, kl=0.1)
