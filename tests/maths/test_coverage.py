"""Coverage of intervals for a share: by hand, and by listing every outcome."""

import math
from itertools import product

import pytest
import torch
from tensors import doubles

from dpo_notes.maths.coverage import coverage, normal_interval
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.win_rate import wilson_interval


def of_every_outcome(interval, count):
    """(low, high) of the interval for 0, 1, ..., count wins."""
    found = [interval(k / count, count) for k in range(count + 1)]
    return tuple(doubles(*(getattr(one, end) for one in found)) for end in ("low", "high"))


def test_the_normal_interval_by_hand():
    """Half width 1.96 * sqrt(0.5 * 0.5 / 100) = 0.098."""
    interval = normal_interval(0.5, 100)
    assert (interval.low, interval.high) == pytest.approx((0.402, 0.598), abs=1e-4)
    assert normal_interval(0.0, 100)[1:] == (0.0, 0.0)


def test_coverage_by_listing_every_series_of_five_games():
    low, high = of_every_outcome(wilson_interval, 5)
    p = 0.7
    by_hand = 0.0
    for games in product((0, 1), repeat=5):
        wins = sum(games)
        by_hand += p**wins * (1 - p) ** (5 - wins) * bool(low[wins] <= p <= high[wins])
    assert coverage(low, high, doubles(p)).item() == pytest.approx(by_hand)


def test_near_certain_wins_the_normal_interval_fails_and_wilsons_holds():
    p = doubles(0.98)
    assert coverage(*of_every_outcome(normal_interval, 50), p).item() < 0.65
    assert coverage(*of_every_outcome(wilson_interval, 50), p).item() > 0.9


def test_an_interval_of_everything_always_holds():
    everything = coverage(torch.zeros(31).double(), torch.ones(31).double(), torch.tensor([0.2, 0.9]).double())
    assert everything.tolist() == pytest.approx([1, 1])


def test_shares_at_the_ends_and_rates_that_are_none_are_refused():
    with pytest.raises(InputError, match="0 < p < 1"):
        coverage(torch.zeros(3), torch.ones(3), torch.tensor([1.0]))
    with pytest.raises(InputError, match="rate"):
        normal_interval(math.nan, 5)
