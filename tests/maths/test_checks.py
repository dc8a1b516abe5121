"""Guards name what came and what was expected; verify() tells two routes apart."""

import math

import pytest
import torch
from tensors import doubles

from dpo_notes.maths.checks import check_fraction, check_positive, check_same_shape, verify
from dpo_notes.maths.errors import InputError

pytestmark = pytest.mark.usefixtures("types_unchecked")


def test_an_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("value", [1e-300, 0.1, 1, 5.0])
def test_numbers_above_zero_are_positive(value):
    check_positive("beta", value)


@pytest.mark.parametrize("value", [0, 0.0, -1, math.nan, math.inf, True, "0.1", None, torch.tensor(0.1)])
def test_everything_else_is_not_positive_and_is_named(value):
    with pytest.raises(InputError, match="^beta is .*; expected a finite number above 0$"):
        check_positive("beta", value)


@pytest.mark.parametrize("value", [0, 0.0, 0.1, 0.4999])
def test_a_fraction_may_be_zero_up_to_its_bound(value):
    check_fraction("label_smoothing", value, below=0.5)


@pytest.mark.parametrize("value", [0.5, 1, -1e-9, math.nan, False, "0.1"])
def test_a_fraction_may_not_reach_its_bound(value):
    with pytest.raises(InputError, match="^label_smoothing is .*; expected a number from 0 up to, not including, 0.5$"):
        check_fraction("label_smoothing", value, below=0.5)


def test_shapes_that_would_broadcast_are_refused_with_their_names():
    with pytest.raises(InputError, match=r"chosen \(2, 1\), rejected \(2,\); expected one shape"):
        check_same_shape(chosen=torch.zeros(2, 1), rejected=torch.zeros(2))


def test_integers_are_refused_where_floats_belong():
    with pytest.raises(InputError, match="chosen has dtype torch.int64; expected floating point"):
        check_same_shape(chosen=torch.zeros(2, dtype=torch.int64), rejected=torch.zeros(2))


def test_equal_shapes_pass():
    check_same_shape(chosen=torch.zeros(2, 3), rejected=torch.zeros(2, 3, dtype=torch.float64))


def test_verify_prints_one_line_where_the_routes_agree(capsys):
    verify("6.1 two responses", math.e / (math.e + 1), 1 / (1 + math.exp(-1)))
    assert capsys.readouterr().out.startswith("✓ 6.1 two responses (largest difference ")


def test_verify_raises_where_the_routes_differ_by_more_than_the_tolerance():
    """1 and 1 + 2e-10 differ by 2e-10, above 1e-10 and below 1e-9."""
    verify("close", 1.0, 1 + 2e-10, tolerance=1e-9)
    with pytest.raises(AssertionError, match="close: the two routes differ by 2.00e-10, more than 1e-10"):
        verify("close", 1.0, 1 + 2e-10)


def test_verify_measures_large_numbers_relatively():
    """1e6 and 1e6 + 1e-5 differ by 1e-11 of their size."""
    verify("large", doubles(1e6), doubles(1e6 + 1e-5))


@pytest.mark.parametrize("pair", [(math.nan, math.nan), (math.nan, 0.0), (math.inf, math.inf)])
def test_verify_takes_no_nan_and_no_infinity_for_agreement(pair):
    with pytest.raises(AssertionError):
        verify("not a number", *pair)


def test_verify_refuses_to_broadcast():
    with pytest.raises(AssertionError, match="shapes"):
        verify("shapes", torch.zeros(2), torch.zeros(2, 1))


def test_verify_sees_one_wrong_entry_among_many():
    wrong = torch.zeros(3, 4, dtype=torch.float64)
    wrong[2, 1] = 1e-3
    with pytest.raises(AssertionError, match="1.00e-03"):
        verify("one of twelve", wrong, torch.zeros(3, 4))
