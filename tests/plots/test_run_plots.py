"""The pictures of runs, read back from the axes."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dpo_notes.maths.calibration import reliability
from dpo_notes.plots import runs as plots

ROWS = [
    {"step": 0, "eval/loss": math.log(2), "eval/rewards/chosen": 0.0, "eval/rewards/rejected": 0.0,
     "eval/rewards/margins": 0.0, "eval/rewards/accuracies": 0.0, "eval/logps/chosen": -20.0, "eval/logps/rejected": -21.0,
     "eval/kl": 0.0, "eval/kl_error": 0.0, "eval/length": 12.0},
    {"step": 1, "loss": math.log(2), "rewards/chosen": 0.0},
    {"step": 2, "loss": 0.6, "eval/loss": 0.65, "eval/rewards/chosen": 0.1, "eval/rewards/rejected": -0.2,
     "eval/rewards/margins": 0.3, "eval/rewards/accuracies": 0.7, "eval/logps/chosen": -19.0, "eval/logps/rejected": -23.0,
     "eval/kl": 1.5, "eval/kl_error": 0.1, "eval/length": 14.0},
]  # fmt: skip


def lines(ax):
    """The lines of an axes by their label, as lists of (x, y)."""
    return {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in ax.get_lines()}


@pytest.fixture
def ax():
    return Figure().subplots()


def test_training_loss_is_drawn_at_training_steps_and_held_out_loss_at_evaluations(ax):
    drawn = lines(plots.loss_panel(ax, ROWS))
    assert drawn["training"] == [(1, math.log(2)), (2, 0.6)]
    assert drawn["held out"] == [(0, math.log(2)), (2, 0.65)]


def test_chosen_rejected_and_margin_have_the_colours_that_they_have_everywhere(ax):
    plots.reward_panel(ax, ROWS)
    colours = {line.get_label(): line.get_color() for line in ax.get_lines()}
    assert colours == {"chosen": plots.CHOSEN, "rejected": plots.REJECTED, "margin": plots.MARGIN}


def test_accuracy_leaves_out_step_0_where_all_rewards_tie(ax):
    drawn = lines(plots.accuracy_panel(ax, ROWS, best=0.75))
    assert drawn["policy"] == [(2, 0.7)]
    assert [y for _, y in drawn["best possible"]] == [0.75, 0.75]


def test_kl_bars_reach_two_standard_errors(ax):
    plots.kl_panel(ax, ROWS)
    (container,) = ax.containers
    bar = container[2][0].get_segments()[1]
    assert np.allclose(bar[:, 1], [1.3, 1.7])


def test_a_run_outside_the_review_world_shows_length_and_one_inside_shows_reward_and_grammar(ax):
    assert set(lines(plots.speech_panel(ax, ROWS))) == {"length"}
    known = [row | {"eval/reward": 0.3, "eval/grammatical": 0.9} for row in ROWS]
    drawn = lines(plots.speech_panel(Figure().subplots(), known))
    assert set(drawn) == {"true reward (nats)", "share grammatical"}


def test_training_curves_without_evaluations_fall_back_on_the_training_batches():
    rows = [{"step": 1, "loss": 0.7, "rewards/chosen": 0.1, "rewards/rejected": 0.0, "rewards/margins": 0.1,
             "rewards/accuracies": 0.5, "logps/chosen": -3.0, "logps/rejected": -4.0}]  # fmt: skip
    figure = plots.training_curves(rows, title="a run")
    assert lines(figure.axes[1])["chosen"] == [(1, 0.1)]
    assert figure.get_suptitle() == "a run"


def test_reliability_points_lie_at_predicted_and_observed_with_bars_of_two_standard_errors(ax):
    """Four pairs predicted 3/4, three of them rightly: 2 * sqrt(3/4 * 1/4 / 4) = 0.433 below 3/4, and above it up to 1."""
    plots.reliability_panel(ax, reliability(torch.tensor([0.75, 0.75, 0.75, 0.25]), n_bins=10))
    (container,) = ax.containers
    assert container[0].get_xydata().tolist() == [[0.75, 0.75]]
    assert np.allclose(container[2][0].get_segments()[0][:, 1], [0.75 - 0.4330127, 1])
    assert [text.get_text() for text in ax.texts] == ["4"]
    assert lines(ax)["calibrated"] == [(0.5, 0.5), (1, 1)]


def test_a_reward_models_curves_show_what_is_possible_and_do_without_a_diagram():
    diagram = reliability(torch.tensor([0.9, 0.2]), n_bins=10)
    loss, accuracy, _ = plots.reward_model_curves(ROWS, diagram, title="a", best_loss=0.5, best_accuracy=0.75).axes
    assert [y for _, y in lines(loss)["least possible"]] == [0.5, 0.5]
    assert lines(accuracy)["reward model"] == [(2, 0.7)]
    assert [y for _, y in lines(accuracy)["best possible"]] == [0.75, 0.75]
    loss, accuracy, empty = plots.reward_model_curves(ROWS, None, title="a").axes
    assert "least possible" not in lines(loss) and "best possible" not in lines(accuracy)
    assert not empty.axison
