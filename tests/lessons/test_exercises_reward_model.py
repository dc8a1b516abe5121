"""The expected answers of notebook 05 computed in a second way; test_exercises.py tests their mistakes."""

import math

import pytest
import torch

from dpo_notes.lessons.reward_model.explorers import PrivateScales
from dpo_notes.maths.bradley_terry import win_counts
from dpo_notes.teaching.checking import exercise
from dpo_notes.worlds.finite.raters import Scales, private_scores, right_order_probability

pytestmark = pytest.mark.notebooks


def test_at_the_border_both_raters_say_the_same():
    felt = torch.tensor([[exercise("05.1").expected], [1.0]], dtype=torch.float64)
    scores = private_scores(felt, Scales(*torch.tensor([[2.0, 5.0], [1.0, 0.5]], dtype=torch.float64)))
    assert scores[0] == scores[1]


def test_so_many_scores_are_as_good_as_a_comparison():
    differences = torch.linspace(0.1, 2, 5, dtype=torch.float64)
    averaged = right_order_probability(differences, noise=0.5, offset_spread=1.5, scores=exercise("05.2").expected)
    torch.testing.assert_close(averaged, right_order_probability(differences, noise=0.5))


def test_the_reading_is_what_the_explorer_says():
    found = exercise("05.4").expected()
    explorer = PrivateScales()
    explorer.controls["noise"].value, explorer.controls["gain_spread"].value = 1.0, 0.0
    for spread, below in ((found - 0.1, False), (found, True)):
        explorer.controls["offset_spread"].value = spread
        assert (explorer.read[2] < 0.75) == below
    assert 0 < found < 3


def test_regression_puts_b_below_c_from_that_loss_on_and_not_before():
    def shares(losses: int) -> torch.Tensor:
        """Items A, B, C, D: A beats B so often, B beats C five times, C and D win six and four of ten."""
        games = [[0, 1]] * losses + [[1, 2]] * 5 + [[2, 3]] * 6 + [[3, 2]] * 4
        wins = win_counts(torch.tensor(games), 4)
        return (wins.sum(1) - wins.sum(0)) / (wins.sum(1) + wins.sum(0))

    losses = exercise("05.6").expected
    assert shares(losses)[1] < shares(losses)[2]
    assert shares(losses - 1)[1] > shares(losses - 1)[2]


def test_the_square_is_least_at_its_margin():
    grid = torch.linspace(-3, 3, 6001, dtype=torch.float64)
    least = grid[(0.9 * (grid - 1) ** 2 + 0.1 * (grid + 1) ** 2).argmin()].item()
    first, second = exercise("05.7").expected
    assert math.isclose(first, least, abs_tol=1e-3) and math.isclose(second, 2 * least, abs_tol=2e-3)
