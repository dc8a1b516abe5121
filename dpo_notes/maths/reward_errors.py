"""How far off rewards fitted to comparisons may be: standard errors from the Fisher information."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_information
from dpo_notes.maths.errors import InputError


def reward_covariance(
    rewards: Float[Tensor, " responses"], games: Float[Tensor, "responses responses"]
) -> Float[Tensor, "responses responses"]:
    """Covariance of the maximum-likelihood rewards of `fit_bradley_terry`, mean 0, in nat^2.

    covariance = pseudo-inverse of preference_information(rewards, games)

    This holds for maximum likelihood with many comparisons; with few, the fit scatters more. The information has no
    inverse, because it says nothing about a constant added to all rewards. Mean 0 fixes this constant, and the
    pseudo-inverse inverts the rest.

    rewards: one per item, the true ones, or the fitted ones in their place, in nats. games: how often i and j were
    compared, at [i, j] and at [j, i]. Raises InputError where items fall into groups that were never compared.
    Known value: n comparisons of two items of equal reward: 1 / n * [[1, -1], [-1, 1]].
    """
    information = preference_information(rewards, games)
    if (apart := len(rewards) - torch.linalg.matrix_rank(information, hermitian=True).item()) > 1:
        raise InputError(f"the items fall into {apart} groups that no comparison connects; expected one")
    gauge = torch.full_like(information, 1 / len(rewards))  # fills the one missing direction, and is subtracted again
    return torch.linalg.inv(information + gauge) - gauge


def margin_errors(covariance: Float[Tensor, "responses responses"]) -> Float[Tensor, "responses responses"]:
    """Standard error of each difference r_i - r_j, in nats, at [i, j].

    error_ij^2 = C_ii + C_jj - 2 C_ij
    If each edge of the graph of `preference_information` were a wire of conductance w_ij, error_ij^2 would be the
    electrical resistance between i and j: squared errors add up in series, and their inverses add up in parallel.

    covariance: from `reward_covariance`. Known value: 2 / sqrt(n) for two items of equal reward, compared n times.
    """
    own = covariance.diagonal()
    squared = own[:, None] + own[None, :] - 2 * covariance
    return squared.clamp(min=0).sqrt()  # the diagonal is 0 up to rounding
