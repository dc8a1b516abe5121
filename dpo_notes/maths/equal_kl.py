"""A fair comparison of methods whose policies end at different KLs: the reward of each curve at the same KL."""

import math
from collections.abc import Sequence
from itertools import pairwise

from dpo_notes.maths.errors import InputError


def value_at_kl(kls: Sequence[float], values: Sequence[float], *, kl: float) -> float:
    """A method's reward (or any other figure) at `kl`, interpolated between its two nearest points.

    The interpolation is linear in sqrt(KL): near the reference the reward of an optimal policy is
    mean + sqrt(2 * variance * KL), to first order, which is a straight line in the root of the KL but not in the KL.

    kls: of the method's points, nats, 0 or above, all different, in any order; include the reference itself, at 0.
    values: one per point. kl: nats.
    NaN below the lowest and above the highest of the kls, where nothing was measured.
    Errors: InputError for lists of different length, fewer than two points, a negative KL, or one that occurs twice.
    Known value: halfway along the root, at KL 1 between (0, a) and (4, b), it is (a + b) / 2.
    """
    points = sorted(zip(kls, values, strict=False))
    if len(kls) != len(values) or len(points) < 2:
        raise InputError(f"{len(kls)} kls and {len(values)} values; expected as many of each, and two or more")
    if points[0][0] < 0 or len({place for place, _ in points}) < len(points):
        raise InputError(f"kls is {list(kls)}; expected numbers of at least 0, each once")
    for (left, low), (right, high) in pairwise(points):
        if left <= kl <= right:
            share = (math.sqrt(kl) - math.sqrt(left)) / (math.sqrt(right) - math.sqrt(left))
            return low + share * (high - low)
    return math.nan
