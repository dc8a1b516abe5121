"""The expected answers of notebook 07 computed in a second way; test_exercises.py tests their mistakes."""

import itertools
import math

import pytest
import torch

from dpo_notes.maths.optimum import kl_divergence, log_partition, optimal_policy
from dpo_notes.teaching.checking import exercise
from dpo_notes.worlds.reviews.flattery import ANSWERS, FLATTERY, proxy_world

pytestmark = pytest.mark.notebooks


def logs(*probs):
    return torch.tensor(probs, dtype=torch.float64).log()


def test_both_divergences_are_the_packages():
    policy, reference = logs(0.75, 0.25, 0), logs(0.25, 0.25, 0.5)
    both = [kl_divergence(policy, reference).item(), kl_divergence(reference, policy).item()]
    assert exercise("07.1").expected == pytest.approx(both)


def test_the_best_policy_by_hand_is_the_packages():
    best = optimal_policy(torch.tensor([0.0, 1, 2]).double(), logs(0.5, 0.3, 0.2), beta=1 / math.log(2))
    assert exercise("07.2").expected == pytest.approx(best.exp().tolist())


def test_flattery_is_as_likely_as_in_france_where_the_answer_says():
    world, answers = proxy_world(), list(ANSWERS)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=exercise("07.5").expected)
    assert best[answers.index(FLATTERY)].item() == pytest.approx(best[answers.index(" In France.")].item())


def test_the_turned_leash_is_best_where_trying_all_policies_finds_it():
    better = torch.linspace(0.001, 0.999, 99_801, dtype=torch.float64)
    policies = torch.stack([1 - better, better], dim=1).log()
    objective = better - kl_divergence(logs(0.5, 0.5).expand_as(policies), policies)
    assert better[objective.argmax()].item() == pytest.approx(exercise("07.7").expected, abs=1e-4)


def test_the_partition_function_of_a_chain_is_a_sum_over_all_words():
    for reward, reference, beta, length in exercise("07.8").cases:
        words = itertools.product(range(len(reward)), repeat=length)
        steps = [list(itertools.pairwise((0, *word))) for word in words]
        earned = torch.stack([sum(reward[step] for step in word) for word in steps])
        logps = torch.stack([sum(reference[step] for step in word) for word in steps])
        by_hand = log_partition(earned, logps, beta=beta)
        torch.testing.assert_close(exercise("07.8").expected(reward, reference, beta, length), by_hand)
