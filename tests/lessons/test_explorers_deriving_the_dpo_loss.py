"""The explorers of notebook 08: set the controls, read the artists and words."""

import math

import pytest
from hands_on import set_to

from dpo_notes.lessons.deriving_the_dpo_loss.explorers import (
    BETAS,
    L_ROW,
    W_ROW,
    Displacement,
    LossOfTwoLogratios,
    TwoFaces,
)

pytestmark = pytest.mark.notebooks


def test_loss_and_weight_by_hand():
    """Log-ratios 3 and -2 at beta 0.1: rewards 0.3 and -0.2, margin 0.5."""
    explorer = set_to(LossOfTwoLogratios(), beta=0.1, chosen=3, rejected=-2)
    assert [bar.get_height() for bar in (*explorer.logratios, *explorer.rewards)] == pytest.approx([3, -2, 0.3, -0.2])
    assert explorer.loss == pytest.approx(math.log(1 + math.exp(-0.5)))
    assert explorer.weight == pytest.approx(1 / (1 + math.exp(0.5)))
    assert [mark.get_xdata()[0] for mark in explorer.marks] == pytest.approx([0.5, 0.5])
    assert "Margin 0.50, loss 0.474, weight 0.378" in explorer.words


def test_the_loss_does_not_see_both_fall_together():
    explorer = set_to(LossOfTwoLogratios(), chosen=2, rejected=0)
    before = explorer.loss, explorer.weight
    set_to(explorer, chosen=-5, rejected=-7)
    assert (explorer.loss, explorer.weight) == pytest.approx(before)


def test_a_margin_beyond_the_picture_is_said():
    explorer = set_to(LossOfTwoLogratios(), beta=3, chosen=-10, rejected=10)
    assert "Margin -60.00 (beyond the picture), loss 60.000" in explorer.words
    assert explorer.marks[0].get_xdata()[0] == -12


def test_a_short_arrow_lowers_the_chosen_answer_and_a_long_one_lifts_it():
    short, long = (set_to(Displacement(), length=length, angle=10, steps=1) for length in (0.5, 1.5))
    assert short.slope < 0 and short.logratios[W_ROW] < 0 and "falls at first" in short.words
    assert long.slope > 0 and long.logratios[W_ROW] > 0 and "rises at first" in long.words


@pytest.mark.parametrize("angle", [-120, 10, 90, 180])
def test_the_dashed_line_tells_who_falls(angle):
    """The chosen answer lies beyond the line exactly when its slope is above 0; the line crosses the mean, at
    right angles to the arrow."""
    explorer = set_to(Displacement(), angle=angle, length=0.7)
    (x0, x1), (y0, y1) = (list(map(float, values)) for values in explorer.border.get_data())
    mean = [float(values[0]) for values in explorer.mean.get_data()]
    assert [(x0 + x1) / 2, (y0 + y1) / 2] == pytest.approx(mean)
    tail, head = zip(*(map(float, values) for values in explorer.arrow.get_data()), strict=True)
    assert (x1 - x0) * (head[0] - tail[0]) + (y1 - y0) * (head[1] - tail[1]) == pytest.approx(0, abs=1e-12)
    along = (head[0] - tail[0]) * (head[0] - mean[0]) + (head[1] - tail[1]) * (head[1] - mean[1])
    assert (along > 0) == (explorer.slope > 0)


def test_the_bars_are_a_distribution_and_the_margin_grows():
    explorer = set_to(Displacement(), steps=40)
    assert sum(bar.get_width() for bar in explorer.bars) == pytest.approx(1)
    assert explorer.logratios[W_ROW] > explorer.logratios[L_ROW]
    assert set_to(explorer, steps=0).logratios.tolist() == [0, 0, 0, 0]


def test_the_two_faces_are_those_of_the_curriculum():
    explorer = set_to(TwoFaces(), steps=50)
    for beta, sgd, adam in (
        (0.05, 1.23, 4.92),
        (0.1, 2.35, 4.84),
        (0.5, 4.85, 4.06),
        (1.0, 3.89, 3.25),
        (2.0, 2.67, 2.34),
    ):
        set_to(explorer, beta=beta)
        assert [explorer.read[name] for name in ("SGD", "Adam")] == pytest.approx([sgd, adam], abs=0.005)
        assert f"margin of {sgd} nats" in explorer.words
        assert explorer.dots["SGD"][1].get_xdata() == [beta]
    assert "falls for ever" in explorer.words


def test_the_top_moves_left_with_the_steps():
    explorer = TwoFaces()
    tops = [BETAS[set_to(explorer, steps=steps).curves["SGD"].get_ydata().argmax()] for steps in (10, 50, 100)]
    assert tops == [1.0, 0.5, 0.3]


def test_raters_who_disagree_give_the_line_an_end():
    explorer = set_to(TwoFaces(), probability=0.8, beta=1.0, steps=100)
    assert explorer.least == pytest.approx(math.log(4))
    assert list(explorer.rest.get_ydata()) == pytest.approx([math.log(4)] * 2)
    assert explorer.read["SGD"] == pytest.approx(math.log(4), abs=1e-6)
    assert "least at a margin of 1.39" in explorer.words
