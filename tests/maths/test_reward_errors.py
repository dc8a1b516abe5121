"""Standard errors of fitted rewards: by hand, against simulation, and as electrical resistance."""

import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.bradley_terry import fit_bradley_terry, sample_preferences
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.reward_errors import margin_errors, reward_covariance


def games_of(n_items: int, *meetings: tuple[int, int, float]) -> torch.Tensor:
    """Symmetric counts from (i, j, times)."""
    games = torch.zeros(n_items, n_items, dtype=torch.float64)
    for i, j, times in meetings:
        games[i, j] = games[j, i] = times
    return games


def test_two_items_by_hand():
    """25 comparisons of equal items: information 25/4 * [[1, -1], [-1, 1]], pseudo-inverse 1/25 of the same pattern."""
    covariance = reward_covariance(doubles(0.3, 0.3), games_of(2, (0, 1, 25)))
    torch.testing.assert_close(covariance, doubles([0.04, -0.04], [-0.04, 0.04]))
    torch.testing.assert_close(margin_errors(covariance), doubles([0, 0.4], [0.4, 0]))


def test_lopsided_items_have_larger_errors():
    """p = 3/4, 40 comparisons: 1 / sqrt(40 * 3/16) = 0.365148."""
    error = margin_errors(reward_covariance(doubles(math.log(3), 0), games_of(2, (0, 1, 40))))[0, 1]
    assert error.item() == pytest.approx(0.3651483716701107)


def test_squared_errors_add_in_a_row_and_their_inverses_side_by_side():
    """Equal items: each edge has the squared error 4 / n. A ring of three is one edge parallel to two in series."""
    equal = doubles(0, 0, 0)
    row = margin_errors(reward_covariance(equal, games_of(3, (0, 1, 100), (1, 2, 50))))
    assert row[0, 2].item() ** 2 == pytest.approx(4 / 100 + 4 / 50)
    ring = margin_errors(reward_covariance(equal, games_of(3, (0, 1, 100), (1, 2, 50), (0, 2, 20))))
    assert 1 / ring[0, 2].item() ** 2 == pytest.approx(1 / (4 / 100 + 4 / 50) + 1 / (4 / 20))


def test_the_covariance_is_the_pseudo_inverse_of_autograds_hessian_and_leaves_the_mean_alone():
    from dpo_notes.maths.bradley_terry import preference_nll, win_counts

    rewards = doubles(1.0, 0.2, -0.4, -0.8)
    meetings = torch.combinations(torch.arange(4)).repeat(9, 1)
    drawn = sample_preferences(rewards, meetings, generator=seeded())
    wins = win_counts(drawn, 4)
    hessian = torch.autograd.functional.hessian(lambda r: preference_nll(*r[drawn].unbind(1)).sum(), rewards)
    covariance = reward_covariance(rewards, wins + wins.T)
    torch.testing.assert_close(covariance, torch.linalg.pinv(hessian, hermitian=True))
    torch.testing.assert_close(covariance.sum(dim=0), torch.zeros(4, dtype=torch.float64))


def test_fits_of_many_tournaments_scatter_as_predicted():
    """300 tournaments of 100 comparisons a pair: the spread is known to 1/sqrt(600) = 4%; we allow four times that."""
    rewards, meetings = doubles(0.8, 0, -0.8), torch.combinations(torch.arange(3)).repeat(100, 1)
    generator = seeded()
    fits = torch.stack(
        [fit_bradley_terry(sample_preferences(rewards, meetings, generator=generator), 3) for _ in range(300)]
    )
    predicted = reward_covariance(rewards, games_of(3, (0, 1, 100), (1, 2, 100), (0, 2, 100))).diagonal().sqrt()
    torch.testing.assert_close(fits.std(dim=0), predicted, rtol=0.16, atol=0)


def test_items_that_never_met_are_refused():
    with pytest.raises(InputError, match="fall into 2 groups that no comparison connects"):
        reward_covariance(doubles(0, 0, 0, 0), games_of(4, (0, 1, 5), (2, 3, 5)))
