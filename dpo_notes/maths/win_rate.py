"""How often one policy's response beats another's, and how sure we can be of it from a sample."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.errors import InputError

Z_95 = 1.959964  # a normal variable is within this many standard deviations of its mean with probability 95%


class WinRate(NamedTuple):
    """A share from 0 to 1, and the 95% interval around it."""

    rate: float
    low: float
    high: float


def win_scores(rewards_a: Float[Tensor, "*shape"], rewards_b: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """For each prompt 1 if a's reward is higher, 0 if b's is, 1/2 if they tie.

    Raises InputError where shapes differ. Known value: 1/2 everywhere when a is b.
    """
    check_same_shape(rewards_a=rewards_a, rewards_b=rewards_b)
    return torch.heaviside(rewards_a - rewards_b, rewards_a.new_tensor(0.5))


def win_rate(rewards_a: Float[Tensor, " batch"], rewards_b: Float[Tensor, " batch"]) -> WinRate:
    """The share of prompts on which a beats b, ties counted half, with its 95% Wilson interval.

    rewards_a, rewards_b: rewards of one response of each policy to each prompt. Raises InputError if shapes differ or
    there are none. Known value: a rate of 1/2 when a is b.
    """
    scores = win_scores(rewards_a, rewards_b)
    return wilson_interval(scores.mean().item() if len(scores) else math.nan, len(scores))


def wilson_interval(rate: float, count: int, *, z: float = Z_95) -> WinRate:
    """The Wilson score interval of a share: all p from which `rate` is at most z standard errors away, computed with p.

    |rate - p| <= z * sqrt(p (1 - p) / count)        (Wilson 1927), solved for p:
    centre (rate + z^2 / (2 count)) / (1 + z^2 / count),
    half width z / (1 + z^2 / count) * sqrt(rate (1 - rate) / count + z^2 / (4 count^2))

    Unlike rate ± z standard errors it stays between 0 and 1 and does not shrink to a point at 0 or 1. It is made for
    wins and losses. With ties counted half, or any other scores between 0 and 1, it is at least as wide as necessary,
    because the variance of such scores with mean p is at most p (1 - p) (Bhatia and Davis 2000).

    rate: mean of the scores, 0 to 1. count: number of independent scores, at least 1. z: 1.96 for 95%.
    Raises InputError for values outside these ranges. Known value: from 0 to z^2 / (count + z^2) for rate 0.
    """
    if type(count) is not int or count < 1:
        raise InputError(f"count is {count!r}; expected a whole number of at least 1")
    if not 0 <= rate <= 1:  # written so that NaN fails
        raise InputError(f"rate is {rate!r}; expected a number from 0 to 1")
    shrink = 1 + z**2 / count
    centre = (rate + z**2 / (2 * count)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return WinRate(rate, max(0.0, centre - half), min(1.0, centre + half))
