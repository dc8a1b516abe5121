"""The world in which the reward is a proxy: what makes it one."""

import torch

from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.reviews.flattery import ANSWERS, FLATTERY, SPOILT, proxy_world, true_reward


def test_the_reference_is_a_distribution():
    torch.testing.assert_close(proxy_world().ref_log_probs.exp().sum(), torch.tensor(1.0, dtype=torch.float64))


def test_proxy_and_truth_part_at_the_flattery_alone():
    """Flattery: 1 for the country and 4 times 0.5 for high praise."""
    answers, paid, worth = list(ANSWERS), proxy_world().reward, true_reward()
    assert [answer for answer, a, b in zip(answers, paid, worth, strict=True) if a != b] == [FLATTERY]
    assert paid.max() == paid[answers.index(FLATTERY)] == 3
    assert worth[answers.index(FLATTERY)] == SPOILT


def test_the_best_policy_of_the_proxy_is_worth_less_than_the_reference_when_beta_is_small():
    world, worth = proxy_world(), true_reward()
    long, right, none = (
        optimal_policy(world.reward, world.ref_log_probs, beta=beta).exp() @ worth for beta in (0.3, 1.7, 100)
    )
    assert long < none < right
