"""How many samples of the reference it takes to estimate the partition function Z."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.optimum import log_partition


def log_mean_square_weight(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"], *, beta: float
) -> Float[Tensor, "*batch"]:
    """log of E_ref[(pi*/pi_ref)^2] in nats, 0 or more: the Renyi divergence of order 2 of pi* from the reference.

    E_ref[(pi*/pi_ref)^2] = Z(beta/2) / Z(beta)^2,
    as pi*/pi_ref = exp(r / beta) / Z(beta) and its square has exp(2 r / beta)

    The weight pi*/pi_ref has mean 1 under the reference, so its variance is this mean square minus 1. By Jensen's
    inequality log E_ref[(pi*/pi_ref)^2] = log E_pi*[pi*/pi_ref] >= KL(pi* || pi_ref).
    For m samples, `effective_sample_size` is about m times exp(-this).

    Arguments and errors as in `log_partition`. Known value: 0 where all rewards are equal; -log pi_ref(best response)
    for beta towards 0.
    """
    doubled = log_partition(2 * reward, ref_log_probs, beta=beta)  # Z(beta / 2)
    return doubled - 2 * log_partition(reward, ref_log_probs, beta=beta)


def samples_needed(
    reward: Float[Tensor, "*batch responses"],
    ref_log_probs: Float[Tensor, "*batch responses"],
    *,
    beta: float,
    error: float,
) -> Float[Tensor, "*batch"]:
    """The number of samples of the reference that estimate Z with this relative standard error (not rounded).

    The mean of exp(r / beta) over n samples has mean Z and relative variance (Z(beta/2) / Z(beta)^2 - 1) / n.

    error: the standard deviation of the estimate divided by Z, above 0; for small ones also that of log Z, in nats.
    Other arguments and errors as in `log_partition`. Known value: 0 where all rewards are equal.
    """
    check_positive("error", error)
    return torch.expm1(log_mean_square_weight(reward, ref_log_probs, beta=beta)) / error**2
