"""The explorers of notebook 03 by their sliders, artists and words."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hands_on import press, set_to

from dpo_notes.lessons.reinforcement_learning.explorers import DiscountExplorer, LearningExplorer, NoiseExplorer
from dpo_notes.lessons.reinforcement_learning.kitchen_runs import (
    AT_BROOM,
    OVER,
    ROUND,
    UPDATES,
    WORLD,
    crossing_gain,
    learning_run,
    noise_pool,
    way_in_words,
    way_return,
)
from dpo_notes.lessons.reinforcement_learning.pictures import path_of, short
from dpo_notes.worlds.kitchen.episodes import episode_losses, sample_episodes
from dpo_notes.worlds.kitchen.gridworld import optimal_values, policy_values, read_map

pytestmark = pytest.mark.notebooks


class OneCat(LearningExplorer):
    cats = 1


@pytest.fixture(scope="module")
def discount():
    return DiscountExplorer()


@pytest.fixture(scope="module")
def learning():
    return OneCat()


@pytest.fixture(scope="module")
def noise():
    return NoiseExplorer()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_the_two_ways_earn_what_their_steps_say(gamma):
    assert way_return(OVER, discount=gamma) == pytest.approx(-1 + 100 * gamma**4)
    assert way_return(ROUND, discount=gamma) == pytest.approx(100 * gamma**6)


@pytest.mark.parametrize(("gamma", "way"), [(0.3, "goes round"), (0.4, "crosses"), (0.994, "crosses"), (0.996, "goes")])
def test_the_cat_crosses_the_broom_at_middling_discounts_only(discount, gamma, way):
    set_to(discount, discount=gamma)
    assert f"the best cat {way}" in discount.words
    assert discount.dot.get_xydata().tolist() == [[gamma, crossing_gain(gamma)]]
    assert (crossing_gain(gamma) > 0) == (way == "crosses")


def test_warmth_is_the_optimal_value_and_every_open_cell_has_an_arrowhead(discount):
    set_to(discount, discount=0.7)
    values = optimal_values(WORLD, discount=0.7)
    warmth = np.asarray(discount.kitchen.heat.get_array()).reshape(
        3, 5
    )  # its rows go up from the bottom of the picture
    for value, (x, y) in zip(values.tolist(), discount.kitchen.centres, strict=True):
        assert warmth[int(y), int(x)] == value
    tips = {tuple(path.vertices[0].astype(int)) for path in discount.kitchen.arrows.get_paths()}
    assert len(tips) == int((~WORLD.terminal).sum())


@pytest.mark.parametrize(
    ("value", "text"), [(64.61, "64.6"), (100, "100"), (0.0726, "0.073"), (-0.87, "−0.87"), (0, "0"), (-1e-9, "0")]
)
def test_values_are_written_short(value, text):
    assert short(value) == text


def test_a_path_ends_at_an_end_or_before_a_repeat():
    world = read_map("C.M")
    right, up = [0, 1, 0, 0], [1, 0, 0, 0]
    assert path_of(world, torch.tensor([right, right, right]).double()) == [0, 1, 2]
    assert path_of(world, torch.tensor([right, up, up]).double()) == [0, 1]
    assert way_in_words([10, 5]) == "gets nowhere" and way_in_words([6, 7, 8]) == "ends in the bathtub"


def test_the_learning_curve_is_the_value_of_each_policy(learning):
    set_to(learning, update=40)
    logits, values = learning_run(0.2, True, 0)
    assert len(logits) == UPDATES + 1 and (logits[0] == 0).all()
    assert values[40] == pytest.approx(policy_values(WORLD, logits[40])[WORLD.start].item())
    assert learning.dot.get_xydata().tolist() == [[40, values[40]]] and f"worth {values[40]:.1f}" in learning.words
    assert list(learning.curve.get_ydata()) == values
    assert list(learning.other.get_ydata()) == learning_run(0.2, False, 0)[1] != values


def test_an_episode_steps_from_the_start_to_the_end_and_another_follows(learning):
    set_to(learning, update=UPDATES)
    press(learning, "To the start")
    assert "taken 0 steps and earned 0." in learning.words
    states = walked(learning)
    assert states[0] == WORLD.start and WORLD.terminal[states[-1]] and not WORLD.terminal[states[:-1]].any()
    earned = sum(WORLD.rewards[s][WORLD.next_state[s] == t][0].item() for s, t in pairwise(states))
    assert f"taken {len(states) - 1} steps and earned {earned:g}." in learning.words
    set_to(learning, update=0)
    before = walked(learning)
    press(learning, "Another episode")
    assert learning.values["step"] == 0 and walked(learning) != before


def walked(learning) -> list[int]:
    """The states of the band behind the cat, once it has gone to the end of its episode."""
    for _ in range(learning.longest):
        press(learning, "One step")
    centres = learning.kitchen.centres.tolist()
    return [centres.index(place) for place in learning.kitchen.path.get_xydata().tolist()]


def test_an_estimate_of_the_pool_is_the_gradient_of_the_package_and_agrees_with_the_exact_one():
    first, second, exact = noise_pool(0)
    assert abs(first.mean() - exact) < 4 * first.std() / len(first) ** 0.5
    assert abs(second.mean()) < 4 * second.std() / len(second) ** 0.5
    episodes = sample_episodes(
        WORLD, torch.zeros_like(WORLD.rewards), n_episodes=1000, generator=torch.Generator().manual_seed(1)
    )
    logits = torch.zeros_like(WORLD.rewards, requires_grad=True)
    baseline = torch.full((len(logits),), 7.0, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(episode_losses(logits, episodes, baseline).mean(), logits)
    assert (first - 7 * second)[:1000].mean() == pytest.approx(-gradient[AT_BROOM].item())


def test_more_episodes_and_the_best_baseline_narrow_the_spread(noise):
    def spread(**settings):
        set_to(noise, **settings)
        assert noise.dot.get_ydata()[0] == pytest.approx(noise.deviation, rel=0.1)
        return noise.deviation

    one = spread(stage=12, episodes=1, baseline=0)
    assert spread(episodes=16) == pytest.approx(one / 4, rel=0.1)
    best = noise.best.get_xdata()[0]
    assert spread(baseline=best) < 0.6 * spread(baseline=0)
    assert f"scatter by {noise.deviation:.2f}" in noise.words
