"""Best-of-n: draw n responses from the reference and keep the one with the highest reward, without any training."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import check_distributions


def best_of_n_policy(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"], *, n: int
) -> Float[Tensor, "*batch responses"]:
    """Log-probabilities (nats) of the response that best-of-n keeps; ties are broken at random.

    pi_bon(y) = pi_ref(y) * (F^n - F_^n) / (F - F_)
    with F = P(reward <= reward(y)) and F_ = P(reward < reward(y)) under the reference. F^n - F_^n is the probability
    that the best of n draws has exactly this reward, and F - F_ that a single draw has it.
    (F^n - F_^n) / (F - F_) is computed as sum over k < n of F^k * F_^(n-1-k), which is exact even for a tiny F - F_.
    The KL to the reference is `kl_divergence(best_of_n_policy(…), ref_log_probs)`, at most `best_of_n_kl_bound(n)`.

    reward: any finite numbers; only their order matters. ref_log_probs: normalised log-probabilities of the reference
    over the last axis; for m samples, -log m each (then the KL is a plug-in estimate: see `best_of_n_weights`).
    n: draws, at least 1.
    Raises InputError for a wrong n, shape or normalisation.
    Known value: the reference itself for n = 1, and wherever all rewards are equal.
    """
    _check_draws(n)
    check_same_shape(reward=reward, ref_log_probs=ref_log_probs)
    check_distributions(ref_log_probs=ref_log_probs)
    lower, upper = _tied_counts(reward)
    sorted_probs = ref_log_probs.exp().gather(-1, reward.argsort(dim=-1))
    cumulative = torch.nn.functional.pad(sorted_probs.cumsum(-1), (1, 0))
    cumulative = cumulative / cumulative[..., -1:]  # to the last digit, as the n-th power magnifies errors
    below, up_to = cumulative.gather(-1, lower), cumulative.gather(-1, upper)
    ratio, power = torch.ones_like(reward), torch.ones_like(reward)
    for _ in range(n - 1):
        power = power * below
        ratio = ratio * up_to + power
    return ref_log_probs + ratio.log()


def best_of_n_weights(rewards: Float[Tensor, "*batch samples"], *, n: int) -> Float[Tensor, "*batch samples"]:
    """Weights (they sum to 1) of m samples of the reference: a weighted sum of anything estimates its best-of-n mean.

    weight = (C(K, n) - C(K_, n)) / (C(m, n) * (K - K_))
    with K samples that have at most this reward and K_ that have less: the share of all choices of n of the m samples
    in which this one is kept. Any n of m independent samples are n independent samples, so the estimate is unbiased.
    A divergence is not a mean, so use `best_of_n_policy` on these samples for it: its KL is biased (low, by about the
    number of different rewards divided by m), but stays below the bound.

    rewards: those that choose; only their order matters. n: draws, from 1 to m. Raises InputError for another n.
    Known value: 1/m each for n = 1; for n = m all weight is on the best sample.
    """
    _check_draws(n)
    samples = rewards.shape[-1]
    if n > samples:
        raise InputError(f"n is {n}; expected at most {samples}, the number of samples")
    lower, upper = (count.to(rewards.dtype) for count in _tied_counts(rewards))

    def chance(count: Tensor) -> Tensor:
        """C(count, n) / C(samples, n): the chance that n of all samples are among the lowest `count`."""
        factors = [(count - k) / (samples - k) for k in range(n)]
        return torch.stack(factors).prod(dim=0)

    return (chance(upper) - chance(lower)) / (upper - lower)


def best_of_n_kl_bound(n: int) -> float:
    """An upper bound on KL(best-of-n || reference), in nats.

    log n - (n - 1) / n        (Stiennon et al. 2020, arXiv 2009.01325, Appendix G.3; that it is a bound, and exact only
    where no two responses have the same reward and each is unlikely: Beirami et al. 2024, arXiv 2401.01879)

    n: draws, at least 1. Raises InputError for less. Known value: 0 for n = 1; log 2 - 1/2 = 0.193 for n = 2.
    """
    _check_draws(n)
    return math.log(n) - (n - 1) / n


def _tied_counts(rewards: Tensor) -> tuple[Tensor, Tensor]:
    """(number along the last axis that are lower, number that are lower or equal), for each reward."""
    ordered = rewards.sort(dim=-1).values.contiguous()
    rewards = rewards.contiguous()
    return torch.searchsorted(ordered, rewards), torch.searchsorted(ordered, rewards, right=True)


def _check_draws(n: int) -> None:
    if type(n) is not int or n < 1:
        raise InputError(f"n is {n!r}; expected a whole number of at least 1")
