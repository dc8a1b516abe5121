"""The optimum without training: samples of the reference, weighted as the optimal policy would have drawn them."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.optimum import check_distributions, optimal_policy


def optimal_weights(rewards: Float[Tensor, "*batch samples"], *, beta: float) -> Float[Tensor, "*batch samples"]:
    """Logarithms of self-normalised weights that turn m samples of the reference into the optimal policy at beta.

    w = exp(reward / beta) / sum of exp(reward / beta)
    which is `optimal_policy` for a reference that gives each of the m samples probability 1/m. So the weighted mean of
    the rewards estimates E_pi*[r], and KL(w || 1/m) = (weighted mean of r) / beta - log mean exp(r / beta) estimates
    KL(pi* || pi_ref). Both are consistent, and both are biased low: they cannot exceed the best of the m samples and
    log m. The bias is of the order of 1 / `effective_sample_size`, so do not use a beta for which that is small.

    rewards: nats, of independent samples of the reference. beta: above 0, nats of reward per nat of KL.
    Raises InputError for another beta. Known value: -log m each where all rewards are equal.
    """
    uniform = torch.full_like(rewards, -math.log(rewards.shape[-1]))
    return optimal_policy(rewards, uniform, beta=beta)


def effective_sample_size(log_weights: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch"]:
    """The number of equally weighted samples that are worth as much as these weighted ones, from 1 to their number.

    1 / sum of w^2, for weights that sum to 1 (Kish 1965).

    log_weights: normalised over the last axis, in nats. Raises InputError for others.
    Known value: m for m equal weights; 1 if one sample has all the weight.
    """
    check_same_shape(log_weights=log_weights)
    check_distributions(log_weights=log_weights)
    return torch.exp(-torch.logsumexp(2 * log_weights, dim=-1))
