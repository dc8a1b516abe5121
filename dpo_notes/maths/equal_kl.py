"""A fair comparison of policies that went different distances: what each curve earns at one and the same KL."""

import math
from collections.abc import Sequence
from itertools import pairwise

from dpo_notes.maths.errors import InputError


def value_at_kl(kls: Sequence[float], values: Sequence[float], *, kl: float) -> float:
    """What a method has (reward, or any other figure) at `kl`, read between its two points on either side.

    The line between two points is straight in sqrt(KL): near the reference the reward of an optimal policy is
    mean + sqrt(2 * variance * KL), to first order, so that along the root it is a line, and along the KL it is not.

    kls: of the method's points, nats, 0 or above, all different, in any order; begin with the reference itself, at 0.
    values: one a point. kl: nats.
    NaN below the least and above the greatest of the kls: what lies beyond the points was never measured.
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
