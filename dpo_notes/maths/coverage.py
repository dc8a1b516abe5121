"""How often an interval for a share contains the true share: the test that an interval has to pass."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.win_rate import Z_95, WinRate, wilson_interval


def normal_interval(rate: float, count: int, *, z: float = Z_95) -> WinRate:
    """The textbook interval of a share, rate ± z standard errors, for comparison with `wilson_interval`.

    rate ± z * sqrt(rate (1 - rate) / count)        (Wald)

    It computes the standard error as if the observed rate were the true one. So at 0 and at 1 it is a single point, and
    near them it may reach below 0 or above 1. Arguments and errors as in `wilson_interval`. Known value: from 0 to 0
    for rate 0.
    """
    wilson_interval(rate, count, z=z)  # to check the arguments
    half = z * math.sqrt(rate * (1 - rate) / count)
    return WinRate(rate, rate - half, rate + half)


def coverage(
    low: Float[Tensor, " outcomes"], high: Float[Tensor, " outcomes"], p: Float[Tensor, " shares"]
) -> Float[Tensor, " shares"]:
    """Probability that the interval contains the true share, for each true share p, exactly and without sampling.

    sum over k of Binomial(k; count, p) * [low_k <= p <= high_k]

    low, high: the interval for k = 0, 1, ..., count wins, so count + 1 values. p: strictly between 0 and 1.
    Errors: InputError where low and high differ in shape or a p is out of range. Known value: 1 for
    intervals from 0 to 1.
    """
    if low.shape != high.shape or not ((p > 0) & (p < 1)).all():
        raise InputError(f"shapes {tuple(low.shape)}, {tuple(high.shape)}, p {p}; expected one shape, and 0 < p < 1")
    count = len(low) - 1
    wins = torch.arange(count + 1, dtype=p.dtype)
    ways = math.lgamma(count + 1) - torch.lgamma(wins + 1) - torch.lgamma(count - wins + 1)
    logps = ways + wins * p.log()[:, None] + (count - wins) * torch.log1p(-p)[:, None]  # [shares outcomes]
    inside = (low <= p[:, None]) & (p[:, None] <= high)
    return (logps.exp() * inside).sum(dim=1)
