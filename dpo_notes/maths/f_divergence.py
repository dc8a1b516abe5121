"""DPO with another divergence in place of the reverse KL: a score that replaces the log-ratio."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_notes.maths.checks import check_positive, check_same_shape
from dpo_notes.maths.errors import InputError

KINDS = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")


def f_divergence_score(logratios: Float[Tensor, "*shape"], kind: str, *, alpha: float = 0.5) -> Float[Tensor, "*shape"]:
    """The score that replaces each log-ratio in a loss when the objective has an f-divergence other than the KL.

    score = f'(u) up to a constant that cancels between chosen and rejected, u = exp(logratio) = pi(y) / pi_ref(y):
    reverse_kl        log u                      (the log-ratio itself: DPO)
    forward_kl        1 - 1 / u
    js_divergence     log(2 u / (1 + u))
    alpha_divergence  (1 - u^(-alpha)) / alpha   (towards reverse_kl for alpha to 0; forward_kl at alpha = 1)
    (f-DPO, Wang et al. 2023, arXiv 2309.16240.) Use: dpo_loss(score(chosen), score(rejected), beta=beta).
    It belongs in losses of the difference chosen - rejected: dpo, hinge, ipo, robust, exo, discopop.

    logratios: policy minus reference log-probability, summed over tokens, in nats. kind: one of the four names, which
    are TRL's. alpha: the paper's, above 0, of use below 1; TRL's f_alpha_divergence_coef is 1 - alpha.
    Powers of u are capped at nine tenths of the dtype's largest exponent (about e^80 in float32); beyond that the
    score stays finite and has no gradient. Raises InputError for another kind or alpha.
    Known value: 0 when policy equals reference, with slope 1 in the log-ratio, 1/2 for js_divergence.
    """
    check_same_shape(logratios=logratios)
    if kind == "reverse_kl":
        return logratios
    if kind == "forward_kl":
        return _power_score(logratios, 1.0)
    if kind == "js_divergence":
        return math.log(2) + logsigmoid(logratios)
    if kind == "alpha_divergence":
        check_positive("alpha", alpha)
        return _power_score(logratios, alpha)
    raise InputError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")


def _power_score(logratios: Tensor, alpha: float) -> Tensor:
    """(1 - u^(-alpha)) / alpha; expm1 keeps the digits that 1 - exp(…) loses near u = 1."""
    largest_exponent = 0.9 * math.log(torch.finfo(logratios.dtype).max)
    return -torch.expm1((-alpha * logratios).clamp(max=largest_exponent)) / alpha
