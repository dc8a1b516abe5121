"""What a curve has at a given KL: between its points, on them, and not beyond them."""

import math

import pytest
from tensors import doubles

from dpo_notes.maths.equal_kl import value_at_kl
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimal_frontier import optimal_point


def test_half_way_along_the_root_by_hand():
    """sqrt(1) is half of sqrt(4): (0.2 + 1.0) / 2. Points may come in any order."""
    assert value_at_kl([4.0, 0.0], [1.0, 0.2], kl=1.0) == pytest.approx(0.6)


def test_on_a_point_it_is_the_points_value():
    kls, values = [0.0, 0.3, 0.9], [0.4, 0.8, 1.0]
    assert [value_at_kl(kls, values, kl=kl) for kl in kls] == pytest.approx(values)


def test_beyond_the_points_nothing_was_measured():
    assert math.isnan(value_at_kl([0.1, 0.5], [1.0, 2.0], kl=0.6))
    assert math.isnan(value_at_kl([0.1, 0.5], [1.0, 2.0], kl=0.05))


def test_near_the_reference_an_optimal_frontier_is_a_line_in_the_root():
    """Two points of the exact frontier of a small world, and the exact reward between them."""
    reward = doubles(-1.0, 0.2, 0.9, 2.0)
    reference = doubles(0.3, 0.4, 0.2, 0.1).log()
    ends = [optimal_point(reward, reference, beta=beta) for beta in (40.0, 10.0)]
    between = optimal_point(reward, reference, beta=16.0)
    rewards, kls = ([point[part].item() for point in ends] for part in (0, 1))
    assert value_at_kl(kls, rewards, kl=between[1].item()) == pytest.approx(between[0].item(), abs=1e-4)


@pytest.mark.parametrize(
    ("kls", "values"), [([0.0], [1.0]), ([0.0, 1.0], [1.0]), ([-0.1, 1.0], [0.0, 1.0]), ([0.5, 0.5], [0.0, 1.0])]
)
def test_points_that_make_no_curve_are_refused(kls, values):
    with pytest.raises(InputError, match="expected"):
        value_at_kl(kls, values, kl=0.2)
