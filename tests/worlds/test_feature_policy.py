"""Policies with shared weights."""

import torch
from tensors import doubles, seeded

from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.finite.feature_policy import shared_descent, tilted
from dpo_notes.worlds.finite.preferences import comparisons
from dpo_notes.worlds.finite.world import population, preference_matrix, random_world


def test_with_the_reward_as_feature_the_tilt_by_one_over_beta_is_the_optimum():
    world = random_world(5, generator=seeded())
    weights = doubles(1 / 0.3)
    policy = tilted(world.ref_log_probs, world.reward[:, None], weights)
    torch.testing.assert_close(policy, optimal_policy(world.reward, world.ref_log_probs, beta=0.3))


def test_with_a_weight_each_the_descent_ends_at_the_optimum():
    world = random_world(4, generator=seeded(), ref_std=0.3)
    *_, last = shared_descent(
        population(world), world.ref_log_probs, torch.eye(4).double(), beta=1.0, learning_rate=5.0, steps=500
    )
    torch.testing.assert_close(last, optimal_policy(world.reward, world.ref_log_probs, beta=1.0), rtol=0, atol=1e-6)


def test_a_shared_weight_moves_a_response_that_is_never_compared():
    """The second is always preferred to the first, so the weight rises, and the third has most of the feature."""
    reference = doubles(0.6, 0.3, 0.1).log()
    draws = doubles(0.5, 0.5, 0.0)
    data = comparisons(preference_matrix(doubles(0.0, 50.0, -50.0)), draws)
    feature = doubles([0.0], [1.0], [5.0])
    path = list(shared_descent(data, reference, feature, beta=1.0, learning_rate=1.0, steps=20))
    torch.testing.assert_close(path[0], reference)
    assert path[-1][2].exp() > 0.9
