"""What an estimate of the partition function from samples is worth."""

import math

import pytest
import torch
from intervals import deviations
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.importance import effective_sample_size, optimal_weights
from dpo_notes.maths.optimal_frontier import optimal_point
from dpo_notes.maths.optimum import log_partition, optimal_policy
from dpo_notes.maths.partition_estimate import log_mean_square_weight, samples_needed
from dpo_notes.worlds.finite.world import random_world

REWARD = doubles(0.0, math.log(3))
HALF = doubles(0.5, 0.5).log()


@pytest.fixture
def world():
    return random_world(10, generator=seeded(3))


def test_two_responses_by_hand():
    """Weights 1 and 3, Z = 2: mean square of 1/2 and 3/2 is 5/4; a quarter of relative variance, 25 samples for 10%."""
    assert log_mean_square_weight(REWARD, HALF, beta=1.0).item() == pytest.approx(math.log(5 / 4))
    assert samples_needed(REWARD, HALF, beta=1.0, error=0.1).item() == pytest.approx(25)


def test_equal_rewards_need_one_look():
    assert samples_needed(torch.ones(2).double(), HALF, beta=0.1, error=0.1).item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("beta", [0.05, 0.3, 1.0, 10.0])
def test_it_is_the_mean_square_of_the_weight_and_never_below_the_kl(world, beta):
    ratios = (optimal_policy(world.reward, world.ref_log_probs, beta=beta) - world.ref_log_probs).exp()
    square = log_mean_square_weight(world.reward, world.ref_log_probs, beta=beta)
    torch.testing.assert_close(square, (world.ref_log_probs.exp() @ ratios**2).log())
    assert square >= optimal_point(world.reward, world.ref_log_probs, beta=beta)[1]


def test_so_many_samples_give_so_small_an_error(world):
    """20,000 estimates from 50 samples each: their relative mean square error is the promised one."""
    beta, n = 0.8, 50
    generator = seeded()
    drawn = torch.multinomial(world.ref_log_probs.exp(), 20_000 * n, replacement=True, generator=generator)
    log_z = log_partition(world.reward, world.ref_log_probs, beta=beta)
    estimates = (world.reward[drawn] / beta - log_z).exp().view(20_000, n).mean(1)
    error = (samples_needed(world.reward, world.ref_log_probs, beta=beta, error=1.0) / n).item()
    assert deviations((estimates - 1) ** 2, error).abs() < 4
    left = effective_sample_size(optimal_weights(world.reward[drawn], beta=beta)).item() / len(drawn)
    assert left == pytest.approx(
        math.exp(-log_mean_square_weight(world.reward, world.ref_log_probs, beta=beta)), rel=0.02
    )


def test_an_error_of_nothing_is_refused():
    with pytest.raises(InputError, match="error is 0"):
        samples_needed(REWARD, HALF, beta=1.0, error=0)
