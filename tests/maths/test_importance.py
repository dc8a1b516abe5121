"""Samples weighted as the optimal policy would have drawn them."""

import math

import pytest
import torch
from intervals import deviations
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.importance import effective_sample_size, optimal_weights
from dpo_notes.maths.optimum import kl_divergence, log_partition, optimal_policy
from dpo_notes.worlds.finite.world import random_world


def test_two_samples_by_hand():
    """Rewards log 3 and 0 at beta 1: weights 3/4 and 1/4; 1 / (9/16 + 1/16) = 1.6 samples."""
    weights = optimal_weights(doubles(math.log(3), 0.0), beta=1.0)
    torch.testing.assert_close(weights.exp(), doubles(0.75, 0.25))
    assert effective_sample_size(weights).item() == pytest.approx(1.6)


def test_equal_rewards_leave_all_samples_and_a_small_beta_leaves_one():
    assert effective_sample_size(optimal_weights(torch.ones(2, 7), beta=0.1)).tolist() == pytest.approx([7, 7])
    rewards = torch.arange(7, dtype=torch.float64)
    assert effective_sample_size(optimal_weights(rewards, beta=0.01)).item() == pytest.approx(1)


def test_divergence_from_the_samples_is_weighted_reward_over_beta_minus_log_of_the_mean_exponential():
    rewards = torch.randn(3, 50, generator=seeded(), dtype=torch.float64)
    weights = optimal_weights(rewards, beta=0.7)
    kl = kl_divergence(weights, torch.full_like(rewards, -math.log(50)))
    mean_reward = (weights.exp() * rewards).sum(-1)
    log_z = (rewards / 0.7).exp().mean(-1).log()
    torch.testing.assert_close(kl, mean_reward / 0.7 - log_z)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_with_many_samples_they_give_reward_and_divergence_of_the_optimal_policy(beta):
    """A world of 12 responses, where the optimum can be written down, and 200,000 samples of its reference."""
    world = random_world(12, generator=seeded(3))
    drawn = torch.multinomial(world.ref_log_probs.exp(), 200_000, replacement=True, generator=seeded(4))
    rewards = world.reward[drawn]
    weights = optimal_weights(rewards, beta=beta)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=beta)
    expected = (best.exp() * world.reward).sum().item()
    assert (weights.exp() * rewards).sum().item() == pytest.approx(expected, abs=0.02)
    kl = kl_divergence(weights, torch.full_like(rewards, -math.log(len(rewards)))).item()
    assert kl == pytest.approx(kl_divergence(best, world.ref_log_probs).item(), abs=0.02)
    log_z = log_partition(world.reward, world.ref_log_probs, beta=beta).item()
    assert kl == pytest.approx(expected / beta - log_z, abs=0.02)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_few_samples_fall_short_of_the_divergence_of_the_optimum_and_of_its_value(beta):
    """The value is beta log Z, here beta log mean exp(r / beta): a concave function of the mean, so low on average."""
    world = random_world(12, generator=seeded(3))
    drawn = torch.multinomial(world.ref_log_probs.exp(), 5 * 4000, replacement=True, generator=seeded(4)).view(4000, 5)
    rewards, uniform = world.reward[drawn], torch.full((4000, 5), -math.log(5), dtype=torch.float64)
    weights = optimal_weights(rewards, beta=beta)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=beta)
    kl = kl_divergence(weights, uniform)
    assert deviations(kl, kl_divergence(best, world.ref_log_probs)) < -4
    value = (weights.exp() * rewards).sum(-1) - beta * kl
    assert deviations(value, beta * log_partition(world.reward, world.ref_log_probs, beta=beta)) < -4


def test_weights_that_do_not_sum_to_1_are_refused():
    with pytest.raises(InputError, match="sum to"):
        effective_sample_size(torch.zeros(3))
