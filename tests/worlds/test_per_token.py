"""DPO on per-token means: its optimum by formula and by descent, and the cases in which it is DPO's."""

import pytest
import torch
from tensors import doubles, seeded
from torch.testing import assert_close

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.finite.per_token import loss_on_means, optimum_on_means
from dpo_notes.worlds.finite.world import FiniteWorld, minimise, population_loss, random_world


def ones(world: FiniteWorld) -> torch.Tensor:
    return torch.ones_like(world.reward)


@pytest.fixture
def world() -> FiniteWorld:
    return random_world(5, generator=seeded())


def test_responses_of_one_token_have_the_optimum_and_the_loss_of_dpo(world):
    best = optimum_on_means(world, ones(world), beta=0.5)
    assert_close(best, optimal_policy(world.reward, world.ref_log_probs, beta=0.5), rtol=0, atol=1e-12)
    assert_close(loss_on_means(world, best, ones(world), beta=0.5), population_loss(world, best, beta=0.5))


def test_equal_lengths_divide_beta(world):
    best = optimum_on_means(world, 4 * ones(world), beta=2.0)
    assert_close(best, optimal_policy(world.reward, world.ref_log_probs, beta=0.5), rtol=0, atol=1e-12)


def test_descent_on_all_comparisons_ends_at_the_formula(world):
    tokens = doubles(1.0, 2.0, 3.0, 2.0, 1.0)
    found = minimise(lambda theta: loss_on_means(world, theta.log_softmax(0), tokens, beta=1.0), world.ref_log_probs)
    assert_close(found.log_softmax(0), optimum_on_means(world, tokens, beta=1.0), rtol=0, atol=1e-5)


def test_the_optimum_is_a_distribution_and_of_two_equally_good_responses_the_longer_one_is_likelier():
    reward = doubles(1.0, 1.0, -1.0)
    world = FiniteWorld(reward, torch.full((3,), 1 / 3, dtype=torch.float64).log())
    best = optimum_on_means(world, doubles(2.0, 6.0, 4.0), beta=1.0)
    assert_close(best.exp().sum(), torch.tensor(1.0, dtype=torch.float64))
    assert best[1] > best[0]


def test_a_response_without_tokens_is_refused(world):
    with pytest.raises(InputError, match="lengths above 0"):
        optimum_on_means(world, 0 * ones(world), beta=1.0)
    with pytest.raises(InputError, match="lengths above 0"):
        loss_on_means(world, world.ref_log_probs, -ones(world), beta=1.0)
