"""Comparisons that need not follow from a reward: any matrix of preferences, and the policy that a loss fits to it.

`preferences[i, j]` is the probability that response i is preferred to response j, so it and its transpose sum to 1.
Bradley-Terry is the special case `preference_matrix(reward)`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_fraction, check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.worlds.finite.world import Population, minimise

Preferences = Float[Tensor, "responses responses"]


def cycle(strength: float = 0.8) -> Preferences:
    """Rock, paper, scissors: each of three responses is preferred to the next one with probability `strength`.

    Known value: at 0.5 every preference is a fair coin.
    """
    check_fraction("strength", strength, below=1 + 1e-12)
    ahead = torch.roll(torch.eye(3, dtype=torch.float64), 1, dims=1)  # [i, i + 1]: i against the one it beats
    return 0.5 * torch.eye(3, dtype=torch.float64) + strength * ahead + (1 - strength) * ahead.T


def flipped(preferences: Preferences, *, flips: float) -> Preferences:
    """The preferences observed when a share of the labels is flipped: (1 - e) * P + e * P transposed.

    flips: e, from 0 up to, not including, 0.5. Known value: a certain preference, 1, becomes 1 - e.
    """
    check_fraction("flips", flips, below=0.5)
    return (1 - flips) * preferences + flips * preferences.T


def corrected(preferences: Preferences, *, flips: float) -> Preferences:
    """The preferences before a share of the labels was flipped: (P - e) / (1 - 2 e), the inverse of `flipped`.

    They can be below 0 or above 1 if fewer labels were flipped than assumed; then no preferences explain the labels.
    flips: e, from 0 up to, not including, 0.5. Known value: an observed preference of 1 - e was certain, 1.
    """
    check_fraction("flips", flips, below=0.5)
    return (preferences - flips) / (1 - 2 * flips)


def has_finite_fit(preferences: Preferences, draws: Float[Tensor, " responses"]) -> bool:
    """Whether the best Bradley-Terry rewards are finite. If they are not, a loss like DPO's never stops pushing.

    They are finite if for every group of responses, the sum over i in it and j outside of mu(i) * mu(j) * P(j over i)
    is above 0: no group always wins against the rest (or, after a correction, more than always). (Ford 1957, with
    probabilities for counts.)

    draws: mu, above 0 for every response; at most about twenty responses, as all groups are tried.
    Known value: True for Bradley-Terry preferences; False where one response is always preferred.
    """
    count = len(draws)
    groups = (torch.arange(1, 2**count - 1)[:, None] >> torch.arange(count)) % 2
    inside = groups.to(preferences.dtype)
    lost = torch.outer(draws, draws) * preferences.T  # [i, j]: weight of j chosen over i
    return bool((((inside @ lost) * (1 - inside)).sum(dim=1) > 0).all())


def win_rates(preferences: Preferences, draws: Float[Tensor, " responses"]) -> Float[Tensor, " responses"]:
    """The probability that each response is preferred to one drawn at random, from 0 to 1.

    q(y) = sum over z of mu(z) * P(y over z)

    draws: mu, the probability of drawing each response. Known value: 1/2 for each one of a fair cycle.
    """
    return preferences @ draws


def comparisons(preferences: Preferences, draws: Float[Tensor, " responses"]) -> Population:
    """All comparisons of two responses drawn from `draws`, with their probabilities: an infinite data set.

    weight(i over j) = 2 * mu(i) * mu(j) * P(i over j), and mu(i)^2 for a response drawn twice

    draws: mu, probabilities that sum to 1; a response of probability 0 is never compared. Raises InputError where
    preferences and their transpose do not sum to 1.
    Known value: `finite.population` where mu is the reference and the preferences are Bradley-Terry.
    """
    check_same_shape(preferences=preferences, transposed=preferences.T)
    if not torch.allclose(preferences + preferences.T, torch.ones_like(preferences), rtol=0, atol=1e-6):
        raise InputError("preferences of i over j and of j over i do not sum to 1; expected probabilities that do")
    weights = 2 * torch.outer(draws, draws) * preferences
    responses = torch.arange(len(draws))
    chosen, rejected = torch.cartesian_prod(responses, responses).unbind(dim=1)
    return Population(chosen, rejected, weights.flatten())


def comparison_loss(
    data: Population, logratios: Float[Tensor, " responses"], *, beta: float, loss_fn: Callable = dpo_loss
) -> Float[Tensor, ""]:
    """The mean of a loss over all comparisons, at a policy's log-ratios (nats), in the unit of the loss.

    loss_fn: `dpo_loss`, or any loss of paired log-ratios. Errors: those of loss_fn.
    Known value: log 2 for DPO where the policy is the reference.
    """
    return data.weights @ loss_fn(logratios[data.chosen], logratios[data.rejected], beta=beta)


def fit_policy(
    data: Population, ref_log_probs: Float[Tensor, " responses"], *, beta: float, loss_fn: Callable = dpo_loss
) -> Float[Tensor, " responses"]:
    """Log-probabilities (nats) of the softmax policy with the lowest `comparison_loss`, starting from the reference.

    beta: of the loss, above 0. loss_fn: a smooth loss of paired log-ratios with a minimum (`has_finite_fit`); without a
    minimum the result is meaningless. A response that is never compared keeps its logit: the loss has no slope there.
    Errors: those of loss_fn. Known value: `finite.fit_dpo` for the population of a finite world.
    """

    def loss_of(logits: Tensor) -> Tensor:
        return comparison_loss(data, logits.log_softmax(dim=0) - ref_log_probs, beta=beta, loss_fn=loss_fn)

    return minimise(loss_of, ref_log_probs).log_softmax(dim=0)
