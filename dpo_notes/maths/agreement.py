"""How well raters agree: in their scores, and in their choices between two responses."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError


def score_agreement(scores: Float[Tensor, "raters responses"]) -> Float[Tensor, ""]:
    """Correlation of two raters' scores of the same response, at most 1, over all responses and pairs of raters.

    With a = score - mean of all scores:
    agreement = sum over responses and raters j != k of a_j * a_k / ((raters - 1) * sum of a^2)
    It is Fisher's intraclass correlation (1925): how much one score says about another rater's. The usual correlation
    of two raters first removes each one's mean and spread, so it cannot see that their scales differ. This one can.

    Raises InputError for fewer than two raters. NaN where all scores are equal.
    Known value: 1 where all raters give the same scores; for very many raters and responses
    var(reward) / (var(reward) + offset_spread^2 + noise^2) with gains of 1.
    """
    raters = _at_least_two(scores, axis=0, called="raters")
    away = scores - scores.mean()
    squares = away.square()
    return (away.sum(dim=0).square() - squares.sum(dim=0)).sum() / ((raters - 1) * squares.sum())


def choice_agreement(scores: Float[Tensor, "raters responses"]) -> Float[Tensor, ""]:
    """How often two raters prefer the same one of two responses, from 0 to 1, over all pairs of each.

    A rater prefers the response with the higher of their own scores; equal scores count as half an agreement.
    Raises InputError for fewer than two raters or responses.
    Known value: 1 where all raters rank alike, whatever their scores; 1/2 for two raters, one of whom finds all equal.
    """
    raters = _at_least_two(scores, axis=0, called="raters")
    prefers = _differences(scores).sign()
    products = prefers.sum(dim=0).square() - prefers.square().sum(dim=0)
    return (1 + (products / (raters * (raters - 1))).mean()) / 2


def right_order_by_one(
    scores: Float[Tensor, "raters responses"], reward: Float[Tensor, " responses"]
) -> Float[Tensor, ""]:
    """How often a rater's own two scores put two responses in the order of their reward, from 0 to 1.

    Over all raters and pairs of responses; ties count half. Raises InputError for fewer than two responses.
    Known value: 1 where no rater makes a mistake, whatever their scales; 1/2 where no rater sees a difference.
    """
    return (1 + (_differences(scores).sign() * _differences(reward).sign()).mean()) / 2


def right_order_by_two(
    scores: Float[Tensor, "raters responses"], reward: Float[Tensor, " responses"]
) -> Float[Tensor, ""]:
    """How often the scores of two different raters put two responses in the order of their reward, from 0 to 1.

    Over all pairs of responses and all ways to give them to two different raters; ties count half.
    Raises InputError for fewer than two raters or responses.
    Known value: that of `right_order_by_one` where all raters have the same scale and feel the same; 1/2 if the scales
    differ so much that only the raters matter.
    """
    raters = _at_least_two(scores, axis=0, called="raters")
    first, second = _pairs(scores)
    higher = (scores[:, None, first] - scores[None, :, second]).sign()  # rater j scores the first, rater k the second
    different = ~torch.eye(raters, dtype=torch.bool)
    return (1 + (higher * _differences(reward).sign())[different].mean()) / 2


def _differences(values: Float[Tensor, "*raters responses"]) -> Float[Tensor, "*raters pairs"]:
    """The value of the first response of each pair minus that of the second."""
    first, second = _pairs(values)
    return values[..., first] - values[..., second]


def _pairs(values: Float[Tensor, "*raters responses"]) -> Tensor:
    responses = _at_least_two(values, axis=-1, called="responses")
    return torch.triu_indices(responses, responses, offset=1)


def _at_least_two(values: Tensor, *, axis: int, called: str) -> int:
    if values.shape[axis] < 2:
        raise InputError(f"there are {values.shape[axis]} {called}; expected at least two to compare")
    return values.shape[axis]
