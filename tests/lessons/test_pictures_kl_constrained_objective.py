"""The pictures of notebook 07: what was drawn is read back."""

import pytest
from matplotlib.figure import Figure

from dpo_notes.lessons.kl_constrained_objective.pictures import camps_panel, frontier_panel, optimum_panel
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.finite.two_camps import TONES, corpus
from dpo_notes.worlds.reviews.flattery import ANSWERS, proxy_world


@pytest.fixture
def ax():
    return Figure().subplots()


def test_the_frontier_runs_from_the_reference_to_the_best_answer_and_bends_down(ax):
    world = proxy_world()
    curve, cross = frontier_panel(ax, world).get_lines()
    (kl, reward), start = curve.get_data(), world.ref_log_probs.exp() @ world.reward
    assert (kl[0].item(), reward[0].item()) == pytest.approx((-world.ref_log_probs[-1].item(), 3), rel=1e-3)
    assert (kl[-1].item(), reward[-1].item()) == pytest.approx((0, start.item()), abs=0.01)
    assert cross.get_ydata()[0] == pytest.approx(start.item())
    falls = (kl[:-1] - kl[1:]) > 1e-4  # at the far end both hardly move
    slopes = ((reward[:-1] - reward[1:])[falls]) / ((kl[:-1] - kl[1:])[falls])
    assert (slopes[1:] > slopes[:-1]).all()  # ever steeper towards the reference


def test_the_bars_are_reference_and_optimum(ax):
    world = proxy_world()
    outlined, filled = optimum_panel(ax, world, list(ANSWERS), beta=0.5).containers
    assert [bar.get_width() for bar in outlined] == pytest.approx(list(ANSWERS.values()))
    best = optimal_policy(world.reward, world.ref_log_probs, beta=0.5)
    assert [bar.get_width() for bar in filled] == pytest.approx(best.exp().tolist())


def test_a_speaker_is_drawn_as_a_density(ax):
    (line,) = camps_panel(ax, corpus(), {"corpus itself": corpus()}).get_lines()
    step = (TONES[1] - TONES[0]).item()
    assert line.get_ydata().sum() * step == pytest.approx(1)
