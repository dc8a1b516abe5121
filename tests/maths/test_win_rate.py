"""Win rate and its interval: by hand, by solving the defining equation, and by how often it contains the truth."""

import math

import pytest
import torch
from tensors import seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.win_rate import Z_95, wilson_interval, win_rate, win_scores


def test_ties_count_half():
    """Wins, loses, ties, wins: (1 + 0 + 1/2 + 1) / 4."""
    a, b = torch.tensor([2.0, 0.0, 1.0, 5.0]), torch.tensor([1.0, 1.0, 1.0, -5.0])
    assert win_scores(a, b).tolist() == [1.0, 0.0, 0.5, 1.0]
    assert win_rate(a, b).rate == 0.625
    assert win_rate(b, a).rate == 0.375


def test_a_policy_against_itself_wins_half_of_the_time():
    rewards = torch.randn(50, generator=seeded())
    rate, low, high = win_rate(rewards, rewards)
    assert rate == 0.5
    assert (low + high) / 2 == pytest.approx(0.5)


def test_interval_by_hand():
    """z = 2, rate 1/2 of 12: shrink 4/3, centre (1/2 + 1/6) / (4/3) = 1/2, half 3/2 * sqrt(1/48 + 1/144) = 1/4."""
    assert wilson_interval(0.5, 12, z=2.0) == (0.5, pytest.approx(0.25), pytest.approx(0.75))


def test_interval_of_no_win_reaches_down_to_0_and_up_to_z2_over_count_plus_z2():
    rate, low, high = wilson_interval(0.0, 10)
    assert (rate, low) == (0.0, 0.0)
    assert high == pytest.approx(Z_95**2 / (10 + Z_95**2))


@pytest.mark.parametrize(("rate", "count"), [(0.1, 7), (0.5, 30), (0.93, 200)])
def test_its_ends_are_z_standard_errors_of_their_own_from_the_rate(rate, count):
    for end in wilson_interval(rate, count)[1:]:
        assert abs(rate - end) == pytest.approx(Z_95 * math.sqrt(end * (1 - end) / count))


def coverage(scores: torch.Tensor, truth: float) -> float:
    """The share of rows whose interval holds the truth."""
    rates, count = scores.mean(-1).tolist(), scores.shape[-1]
    intervals = {rate: wilson_interval(rate, count) for rate in set(rates)}
    return sum(intervals[rate].low <= truth <= intervals[rate].high for rate in rates) / len(rates)


@pytest.mark.parametrize("truth", [0.5, 0.7, 0.95])
def test_it_holds_the_truth_in_95_of_100_cases(truth):
    generator = seeded()
    wins = (torch.rand(20_000, 100, generator=generator) < truth).double()
    assert coverage(wins, truth) == pytest.approx(0.95, abs=0.02)


def test_with_ties_it_holds_the_truth_more_often_than_promised():
    """Wins 0.5, ties 0.4, losses 0.1: the truth is 0.7, and the scores vary less than wins and losses would."""
    draws = torch.rand(20_000, 100, generator=seeded(), dtype=torch.float64)
    scores = torch.where(draws < 0.5, 1.0, torch.where(draws < 0.9, 0.5, 0.0))
    assert 0.97 < coverage(scores, 0.7) < 1


@pytest.mark.parametrize(("rate", "count"), [(1.1, 5), (-0.1, 5), (math.nan, 5), (0.5, 0)])
def test_impossible_rates_and_counts_are_refused(rate, count):
    with pytest.raises(InputError, match="expected"):
        wilson_interval(rate, count)


def test_no_responses_have_no_win_rate():
    with pytest.raises(InputError, match="count is 0"):
        win_rate(torch.empty(0), torch.empty(0))
