"""The expected answers of notebook 04 computed in a second way; test_exercises.py tests their mistakes."""

import math

import pytest
import torch

from dpo_notes.lessons.rl_for_language_models.exercises import POLICY_LOGPS, REFERENCE_LOGPS
from dpo_notes.lessons.rl_for_language_models.explorers import Leash
from dpo_notes.maths.policy_gradient import discounted_returns, reinforce_loss
from dpo_notes.teaching.checking import exercise
from dpo_notes.worlds.finite.gradient import gradient_estimates
from dpo_notes.worlds.finite.world import FiniteWorld
from dpo_notes.worlds.reviews.flattery import true_reward

pytestmark = pytest.mark.notebooks


def test_the_loss_of_one_answer_is_the_packages():
    logp = torch.tensor([0.5, 0.4, 0.9, 0.8]).log().sum()
    assert math.isclose(exercise("04.1").expected, reinforce_loss(logp, torch.tensor(0.75)), rel_tol=1e-4)


def test_the_rewards_to_go_are_the_packages():
    rewards = torch.tensor([[0.0, 0.0, 2.0]]) - 0.5 * torch.tensor([[0.4, -0.2, 0.6]])
    to_go = discounted_returns(rewards, torch.ones_like(rewards, dtype=torch.bool), discount=1.0)
    torch.testing.assert_close(to_go, torch.tensor([exercise("04.2").expected]))


def test_the_readings_of_the_leash_are_what_the_explorer_draws():
    explorer = Leash()
    worth = explorer.path(0.0)[2]
    betas = [round(0.05 * notch, 2) for notch in range(61)]
    harmless = [beta for beta in betas if explorer.path(beta)[2][-1] >= 0.6]
    assert exercise("04.4").expected == [worth.argmax().item(), min(harmless)]


def test_a_penalty_in_the_loss_pulls_at_nothing():
    """REINFORCE with the constant reward 1 for every response has the same mean gradient, up to the sign: none."""
    world = FiniteWorld(torch.ones(3, dtype=torch.float64), REFERENCE_LOGPS)
    one_each = gradient_estimates(world, POLICY_LOGPS, torch.arange(3)[:, None], beta=0)
    torch.testing.assert_close(POLICY_LOGPS.exp() @ one_each, exercise("04.5").expected, rtol=0, atol=1e-15)


def test_the_mended_reward_is_the_true_reward_of_the_flattering_world():
    (prompts, answers), *_ = exercise("04.6").cases
    by_answer = dict(zip(answers, exercise("04.6").expected(prompts, answers).tolist(), strict=True))
    assert set(by_answer.values()) <= set(true_reward().tolist())
    assert min(by_answer.values()) == -1


def test_the_perfect_baseline_leaves_no_noise():
    """Both answers then push by sigma (1 - sigma) (2 - (-1)) = 0.48, the exact gradient."""
    baseline, p = exercise("04.7").expected, 0.8
    assert math.isclose((2 - baseline) * (1 - p), 0.48)
    assert math.isclose((-1 - baseline) * -p, 0.48)
