"""Argument guards, and verify(): two routes to one number."""

import math

import torch
from torch import Tensor

from dpo_notes.maths.errors import InputError


def check_positive(name: str, value: float) -> None:
    """Raise InputError unless `value` is a finite number above zero (beta, a temperature, a learning rate)."""
    if not _is_number(value) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{name} is {value!r}; expected a finite number above 0")


def check_fraction(name: str, value: float, *, below: float) -> None:
    """Raise InputError unless 0 <= `value` < `below` (label smoothing is below 0.5)."""
    if not _is_number(value) or not 0 <= value < below:
        raise InputError(f"{name} is {value!r}; expected a number from 0 up to, not including, {below}")


def check_same_shape(**tensors: Tensor) -> None:
    """Raise InputError unless all tensors are floating point and of one shape, as broadcasting would hide a mistake."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise InputError(f"{name} has dtype {tensor.dtype}; expected floating point")
    if len({tensor.shape for tensor in tensors.values()}) > 1:
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        raise InputError(f"shapes differ: {shapes}; expected one shape")


def verify(claim: str, lhs: Tensor | float, rhs: Tensor | float, *, tolerance: float = 1e-10) -> None:
    """Check a claim by two routes: `lhs` and `rhs` in float64, equal to `tolerance` (relative to the larger, above 1).

    Prints one line with the largest difference. Raises AssertionError where the routes disagree or hold a NaN.
    Example: verify("6.1 two responses", math.e / (math.e + 1), 1 / (1 + math.exp(-1))).
    """
    left, right = (torch.as_tensor(side, dtype=torch.float64).detach() for side in (lhs, rhs))
    if left.shape != right.shape:
        raise AssertionError(f"✗ {claim}: shapes {tuple(left.shape)} and {tuple(right.shape)} differ")
    error = ((left - right).abs() / torch.maximum(left.abs(), right.abs()).clamp(min=1)).max().item()
    if not error <= tolerance:  # written so that NaN fails
        raise AssertionError(f"✗ {claim}: the two routes differ by {error:.2e}, more than {tolerance:.0e}")
    print(f"✓ {claim} (largest difference {error:.1e})")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
