"""Raters with private scales: each feels how good a response is, with noise, and gives a score on their own scale."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_fraction, check_positive
from dpo_notes.maths.errors import InputError


class Scales(NamedTuple):
    """How each rater turns a feeling into a number: score = offset + gain * feeling."""

    offset: Float[Tensor, " raters"]  # above 0 for a lenient rater
    gain: Float[Tensor, " raters"]  # above 0; above 1 for a rater who exaggerates


def draw_scales(count: int, *, offset_spread: float, gain_spread: float, generator: torch.Generator) -> Scales:
    """The scales of `count` raters, float64.

    offset = offset_spread * z,  gain = exp(gain_spread * z' - gain_spread^2 / 2),  z and z' standard normal
    So offsets are 0 on average, and gains are 1 on average and never below 0.

    offset_spread: standard deviation, in units of reward, 0 or more. gain_spread: that of the logarithm of the gain, 0
    or more. The same generator state gives the same z and z', whatever the spreads. Raises InputError for a negative
    spread.
    Known value: with both spreads 0 every score equals the feeling.
    """
    check_fraction("offset_spread", offset_spread, below=math.inf)
    check_fraction("gain_spread", gain_spread, below=math.inf)
    offset, log_gain = torch.randn(2, count, generator=generator, dtype=torch.float64)
    return Scales(offset_spread * offset, (gain_spread * log_gain - gain_spread**2 / 2).exp())


def feelings(
    reward: Float[Tensor, " responses"], count: int, *, noise: float, generator: torch.Generator
) -> Float[Tensor, "raters responses"]:
    """What each of `count` raters feels about each response, in units of reward, float64: reward + noise * z.

    noise: standard deviation of the noise in each feeling, 0 or more. The same generator state gives the same z.
    Raises InputError for a negative noise. Known value: the reward itself where noise is 0.
    """
    check_fraction("noise", noise, below=math.inf)
    return reward + noise * torch.randn(count, len(reward), generator=generator, dtype=torch.float64)


def private_scores(felt: Float[Tensor, "raters responses"], scales: Scales) -> Float[Tensor, "raters responses"]:
    """The score that each rater gives each response: offset + gain * feeling, in that rater's own unit.

    Raises InputError for a gain that is not above 0, as such a rater would score the better response lower.
    Known value: feelings 1 and 2 become 7 and 10 for offset 4 and gain 3.
    """
    if not (scales.gain > 0).all():
        raise InputError(f"the smallest gain is {scales.gain.min().item():g}; expected every gain above 0")
    return scales.offset[:, None] + scales.gain[:, None] * felt


def right_order_probability(
    difference: Float[Tensor, "*pairs"], *, noise: float, offset_spread: float = 0.0, scores: int = 1
) -> Float[Tensor, "*pairs"]:
    """Probability that the first of two responses scores higher than the second, from 0 to 1; all gains are 1.

    P = Phi(sqrt(n) * difference / sqrt(2 * (noise^2 + offset_spread^2))), Phi the standard normal distribution function
    If one rater compares both, use offset_spread 0, because that rater's offset is in both scores (Thurstone 1927, "A
    law of comparative judgment", Case V). Otherwise each response has the mean of n scores, all by different raters.

    difference: reward of the first minus that of the second. noise: above 0. scores: n, 1 or more.
    Raises InputError for values out of range.
    Known value: 1/2 for equal rewards; 0.76 for a difference of 1, noise 1 and one comparison.
    """
    check_positive("noise", noise)
    check_fraction("offset_spread", offset_spread, below=math.inf)
    if scores < 1:
        raise InputError(f"scores is {scores}; expected at least 1")
    spread = math.sqrt(2 * (noise**2 + offset_spread**2) / scores)
    return torch.special.ndtr(difference / spread)
