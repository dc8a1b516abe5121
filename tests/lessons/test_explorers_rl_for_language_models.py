"""The explorers of notebook 04: set the controls, read the artists and words."""

import pytest
import torch
from hands_on import set_to

from dpo_notes.lessons.rl_for_language_models.explorers import STEPS, GradientNoise, Leash, RecordedLeash, Staircase
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.finite.world import FiniteWorld
from dpo_notes.worlds.reviews.flattery import proxy_world, true_reward

pytestmark = pytest.mark.notebooks


@pytest.fixture
def world():
    return FiniteWorld(
        torch.tensor([1.2, 0.4, -1.1, 0.1], dtype=torch.float64),
        torch.tensor([0.35, 0.25, 0.3, 0.1], dtype=torch.float64).log(),
    )


def test_one_number_makes_a_staircase_of_rewards_that_answers_have(world):
    explorer = set_to(Staircase(world), samples=1)
    assert set(map(float, explorer.steps.get_ydata())) <= set(world.reward.tolist())
    assert "kept fixed: 1." in explorer.words


def test_more_numbers_bring_the_slope_of_the_score_function_to_the_exact_one(world):
    explorer = Staircase(world)
    off = {count: abs(set_to(explorer, samples=count).estimate - explorer.exact) for count in (2, 300)}
    assert off[300] < 0.1 < off[2]


def test_the_estimates_lie_around_the_exact_gradient_whatever_is_added_to_the_rewards(world):
    explorer = GradientNoise(world)
    for bonus in (0, 4):
        set_to(explorer, samples=32, baseline="mean of the others", bonus=bonus)
        torch.testing.assert_close(explorer.mean, explorer.exact, rtol=0, atol=0.05)


def test_a_bonus_for_all_is_noise_without_a_baseline_and_nothing_with_one(world):
    explorer = GradientNoise(world)
    before = dict(set_to(explorer, bonus=0).off)
    after = set_to(explorer, bonus=5).off
    assert after["none"] > 4 * before["none"]
    assert after["mean of the others"] == pytest.approx(before["mean of the others"])


def test_the_chosen_baseline_is_the_one_that_is_drawn(world):
    explorer = set_to(GradientNoise(world), baseline="mean of the batch", samples=4)
    assert len({bar.get_facecolor() for bar in explorer.errors}) == 2
    assert explorer.errors[1].get_facecolor() != explorer.errors[0].get_facecolor()
    assert explorer.errors[1].get_width() == explorer.off["mean of the batch"]
    assert "baseline: mean of the batch" in explorer.words


def test_without_a_leash_worth_rises_and_then_falls_while_the_pay_goes_on_rising():
    explorer = set_to(Leash(), beta=0)
    paid, worth = (torch.as_tensor(line.get_ydata()) for line in (explorer.paid, explorer.worth))
    assert (paid.diff() > 0).all()
    assert worth[0] < worth.max() > worth[-1]
    assert worth[-1] < -0.9


def test_with_a_leash_the_bars_end_at_the_best_policy_of_the_proxy():
    explorer = set_to(Leash(), beta=1.5, steps=STEPS)
    world = proxy_world()
    best = optimal_policy(world.reward, world.ref_log_probs, beta=1.5).exp()
    torch.testing.assert_close(
        torch.tensor([bar.get_width() for bar in explorer.bars]), best.float(), rtol=0, atol=2e-3
    )
    assert explorer.read[1] == pytest.approx((best @ true_reward()).item(), abs=2e-3)
    assert f"worth {explorer.read[1]:.3f}" in explorer.words


@pytest.fixture
def record():
    """Two runs of three looks: with beta 0 the reward is the step, with beta 1 it stays at 1."""
    numbers = {"grammatical": 0.5, "words": 12.0, "distinct": 0.2, "kl": 3.0}
    rows = [
        {"beta": beta, "step": step, "reward": float(1 if beta else step), "texts": [f" {beta} <b> {step}"], **numbers}
        for beta in (0.0, 1.0)
        for step in (0, 10, 20)
    ]
    return {"prompts": ["Where?"], "rows": rows}


def test_a_recorded_run_is_shown_at_its_step_with_its_text(record):
    explorer = set_to(RecordedLeash(record), beta=0.0, step=10)
    assert list(explorer.lines["reward"].get_ydata()) == [0, 10, 20]
    assert [list(axis) for axis in explorer.dots["reward"].get_data()] == [[10], [10]]
    assert "reward 10.00, 50% of the answers grammatical" in explorer.words
    assert "“Where?” “0.0 <b> 10”" in explorer.words
    assert "<b>" not in explorer.view.value
    assert list(set_to(explorer, beta=1.0).lines["reward"].get_ydata()) == [1, 1, 1]
