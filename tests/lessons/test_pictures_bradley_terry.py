"""The pictures of notebook 06: what is drawn is the data."""

import math

import pytest
import torch

from dpo_notes.lessons.bradley_terry.pictures import CURVES, learning_panel, preference_bars, tournament_panel
from dpo_notes.teaching.picture import new_figure


def test_the_slope_that_is_drawn_is_autograds():
    margins = torch.linspace(-5, 5, 11, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(CURVES["loss (nats)"](margins).sum(), margins)
    torch.testing.assert_close(CURVES["slope of the loss"](margins.detach()), slope)


def test_learning_is_drawn_as_means_of_blocks():
    """Losses 1, 2, 3 and 5 in blocks of two: means 1.5 at step 2 and 4 at step 4."""
    rows = [{"step": step, "loss": loss} for step, loss in enumerate((1.0, 2.0, 3.0, 5.0), start=1)]
    ax = learning_panel(new_figure(4, 3).subplots(), rows, best=0.5, block=2)
    losses, log_2, best = ax.lines
    assert losses.get_xydata().tolist() == [[2, 1.5], [4, 4]]
    assert [log_2.get_ydata()[0], best.get_ydata()[0]] == [math.log(2), 0.5]


def test_fitted_rewards_are_shown_with_two_standard_errors_and_hidden():
    truth, errors = torch.tensor([1.0, -1.0]), torch.tensor([0.25, 0.5])
    fitted = tournament_panel(new_figure(4, 3).subplots(), ["better", "worse"], truth)
    fitted.show(truth, errors)
    assert fitted.points.get_xydata().tolist() == [[1, 0], [-1, 1]]
    assert [segment.tolist() for segment in fitted.bars.get_segments()] == [[[0.5, 0], [1.5, 0]], [[-2, 1], [0, 1]]]
    fitted.hide()
    assert not len(fitted.points.get_xydata())


def test_bars_of_raters_and_fit_stand_side_by_side():
    raters, fit = preference_bars(new_figure(4, 3).subplots(), ["a over b"], torch.tensor([0.75]), torch.tensor([0.5]))
    assert (raters[0].get_height(), fit[0].get_height()) == (0.75, 0.5)
    assert raters[0].get_x() + raters[0].get_width() == pytest.approx(fit[0].get_x(), abs=0.05)
