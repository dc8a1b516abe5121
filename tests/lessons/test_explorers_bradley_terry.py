"""The explorers of notebook 06: set the controls, read the artists and words."""

import math

import pytest
import torch
from hands_on import set_to

from dpo_notes.lessons.bradley_terry.explorers import BUDGETS, DESIGNS, Crowd, ErrorBars, OnePair

pytestmark = pytest.mark.notebooks


def heights(explorer):
    return {title: point.get_ydata()[0] for title, point in explorer.points.items()}


def test_a_lead_of_log_3_is_chosen_three_times_in_four():
    explorer = OnePair()
    explorer.move(chosen=math.log(3), rejected=0.0)
    assert list(heights(explorer).values()) == pytest.approx([0.75, -math.log(0.75), -0.25])


def test_only_the_bars_notice_a_shift_of_both_rewards():
    explorer = set_to(OnePair(), chosen=1.0, rejected=-0.5)
    before = heights(explorer)
    set_to(explorer, chosen=2.5, rejected=1.0)
    assert heights(explorer) == pytest.approx(before)
    assert [bar.get_height() for bar in explorer.bars] == [2.5, 1.0]
    assert "margin 1.5 nats" in explorer.words
    assert "probability 0.818" in explorer.words


def test_the_tangent_touches_the_loss_with_its_slope():
    explorer = set_to(OnePair(), chosen=-1.0, rejected=1.0)
    (left, right), (low, high) = explorer.tangent.get_data()
    _, loss, slope = heights(explorer).values()
    assert (high - low) / (right - left) == pytest.approx(slope)
    assert (low + high) / 2 == pytest.approx(loss)


def test_two_notches_of_comparisons_halve_the_expected_error():
    explorer = ErrorBars()
    for design in DESIGNS:
        errors = [explorer.expected_error(design, budget) for budget in BUDGETS]
        assert errors[2] == pytest.approx(errors[0] / 2)
        assert errors == sorted(errors, reverse=True)


def test_bars_lie_two_standard_errors_either_side_of_the_fit():
    explorer = set_to(ErrorBars(), budget=960, draw=3)
    ends = [[x for x, _ in segment] for segment in explorer.fitted.bars.get_segments()]
    for (low, high), reward, error in zip(ends, explorer.rewards.tolist(), explorer.errors.tolist(), strict=True):
        assert (low, high) == pytest.approx((reward - 2 * error, reward + 2 * error))
    assert "960 comparisons" in explorer.words
    torch.testing.assert_close(explorer.rewards, explorer.truth, rtol=0, atol=0.6)


def test_too_few_comparisons_are_refused_in_words_and_the_fit_is_hidden():
    explorer = ErrorBars()
    shown = len(explorer.fitted.bars.get_segments())
    for draw in range(1, 31):
        if set_to(explorer, budget=BUDGETS[0], draw=draw).refused:
            break
    assert shown == 6
    assert len(explorer.fitted.bars.get_segments()) == 0
    assert "was ever chosen over" in explorer.words
    set_to(explorer, budget=960)
    assert len(explorer.fitted.bars.get_segments()) == 6


def test_three_equal_tastes_are_a_tie_that_costs_log_2():
    explorer = Crowd()
    assert [bar.get_height() for bar in explorer.raters] == pytest.approx([2 / 3] * 3)
    assert [bar.get_height() for bar in explorer.fit] == pytest.approx([0.5] * 3)
    assert explorer.loss == pytest.approx(math.log(2))
    assert explorer.least == pytest.approx(-2 / 3 * math.log(2 / 3) - 1 / 3 * math.log(1 / 3))


def test_two_tastes_leave_a_line_and_one_taste_leaves_no_fit():
    """Hurried and courteous alike put curt before plain: the share is 1, its entropy 0, the other two are ties."""
    explorer = set_to(Crowd(), thorough=0)
    assert [bar.get_height() for bar in explorer.raters] == pytest.approx([1, 0.5, 0.5])
    assert explorer.least == pytest.approx(2 / 3 * math.log(2))
    assert explorer.loss > explorer.least
    set_to(explorer, courteous=0)
    assert "20 hurried, 0 courteous, 0 thorough. There is no fit" in explorer.words
    assert [bar.get_height() for bar in (*explorer.raters, *explorer.fit)] == [0] * 6 and not len(
        explorer.points.get_xdata()
    )
    assert "There is no fit" not in set_to(explorer, courteous=1).words
