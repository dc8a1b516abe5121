"""Calibration: do preferences predicted with a probability of 70% come true in 70% of all cases?"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpo_notes.maths.errors import InputError


class Reliability(NamedTuple):
    """A reliability diagram as numbers, one value per bin; NaN in the first two where a bin is empty."""

    predicted: Float[Tensor, " bins"]  # mean probability of the response predicted to be the better one, 1/2 to 1
    observed: Float[Tensor, " bins"]  # share of pairs in which that response was the chosen one
    counts: Int[Tensor, " bins"]  # pairs


def reliability(probabilities: Float[Tensor, " pairs"], *, n_bins: int) -> Reliability:
    """Predicted against observed preferences, in `n_bins` bins of equal width from 1/2 to 1, float64.

    probabilities: the predicted probability of the preference that was observed, sigma(r_w - r_l), from 0 to 1.

    A pair has no first response, so the diagram must not depend on their order. With the chosen one always first, every
    outcome would be 1. With both orders, each pair would count twice, and the half below 1/2 would mirror the other. So
    each pair is folded to the response with the higher probability, max(p, 1 - p) >= 1/2. The prediction came true
    where p > 1/2, failed where p < 1/2, and counts as half a success at p = 1/2.
    Raises InputError for no pairs, for values outside 0 to 1, and for fewer bins than 1.
    Known value: probabilities of 3/4, 3/4, 3/4 and 1/4 are predicted 3/4, observed 3/4.
    """
    if n_bins < 1:
        raise InputError(f"n_bins is {n_bins}; expected at least 1")
    p = probabilities.detach().double()
    if len(p) == 0:
        raise InputError("no probabilities; expected at least one")
    if len(outside := p[~((p >= 0) & (p <= 1))]):  # written so that NaN is outside
        raise InputError(f"probabilities holds {outside[0].item()}; expected 0 to 1")
    folded = torch.maximum(p, 1 - p)
    came_true = (p > 0.5).double() + (p == 0.5).double() / 2
    bins = ((folded - 0.5) * 2 * n_bins).long().clamp(max=n_bins - 1)
    counts = torch.bincount(bins, minlength=n_bins)
    means = [torch.bincount(bins, weights=values, minlength=n_bins) / counts for values in (folded, came_true)]
    return Reliability(*means, counts)


def expected_calibration_error(diagram: Reliability) -> float:
    """Mean over pairs of the distance between the predicted and observed probability of their bin, from 0 to 1.

    ECE = sum over bins of count / pairs * |observed - predicted|   (Naeini, Cooper and Hauskrecht 2015)

    Finite samples bias it upwards: even the true probabilities get more than 0, about 1/sqrt(pairs in a bin) * 0.4.
    Known value: 0 for probabilities that are all 1/2, because a model that always answers "1/2" is calibrated.
    """
    share = diagram.counts / diagram.counts.sum()
    return (share * (diagram.observed - diagram.predicted).abs()).nansum().item()
