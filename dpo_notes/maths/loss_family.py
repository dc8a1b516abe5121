"""The relatives of DPO: other losses on the log-ratios of a chosen and a rejected response.

Unless a docstring says otherwise, chosen_logratios and rejected_logratios are policy minus reference log-probabilities
of two responses to one prompt, summed over tokens, in nats; beta is above 0; the result has one value per pair; and
InputError is raised as by dpo_loss. In equations h_w, h_l are the two log-ratios, r = beta * h the implicit rewards,
margin = r_w - r_l. "At the reference" means that policy equals reference, so both log-ratios are 0.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_notes.maths.checks import check_fraction, check_positive
from dpo_notes.maths.f_divergence import f_divergence_score
from dpo_notes.maths.losses import check_per_pair, dpo_loss
from dpo_notes.maths.reference_free import cpo_loss, orpo_loss, simpo_loss
from dpo_notes.maths.unpaired import aot_loss, kto_baseline, kto_loss

__all__ = [
    "aot_loss",
    "apo_down_loss",
    "apo_zero_loss",
    "bco_loss",
    "cpo_loss",
    "discopop_loss",
    "dpop_loss",
    "exo_loss",
    "f_divergence_score",
    "hinge_loss",
    "ipo_loss",
    "kto_baseline",
    "kto_loss",
    "nca_loss",
    "orpo_loss",
    "robust_loss",
    "simpo_loss",
    "sppo_loss",
]


def ipo_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """IPO loss of each pair, in nats squared: it pulls the difference of log-ratios to 1 / (2 beta), not beyond.

    loss = (h_w - h_l - 1 / (2 beta))^2   (Azar et al. 2023, arXiv 2310.12036, Eq. 17, where beta is called tau)

    It works on sums or on per-token means, whichever it is given. The equation has sums. TRL first divides each
    log-ratio by the length of its response, as the authors say the paper's experiments did: use reduction="mean".
    Known value: 1 / (4 beta^2) at the reference; 0 where h_w - h_l = 1 / (2 beta).
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    return (chosen_logratios - rejected_logratios - 1 / (2 * beta)).square()


def hinge_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """Hinge loss of each pair, in nats: no gradient once the margin is 1.

    loss = max(0, 1 - margin)   (SLiC-HF, Zhao et al. 2023, arXiv 2305.10425; on log-ratios: RSO, Liu et al. 2023,
    arXiv 2309.06657)

    Known value: 1 at the reference; 0 from a margin of 1 on.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    return torch.relu(1 - beta * (chosen_logratios - rejected_logratios))


def robust_loss(
    chosen_logratios: Float[Tensor, " batch"],
    rejected_logratios: Float[Tensor, " batch"],
    *,
    beta: float,
    label_smoothing: float,
) -> Float[Tensor, " batch"]:
    """Robust DPO loss of each pair, in nats: its mean over noisy labels is the DPO loss on the clean ones.

    loss = ((1 - e) * (-log sigma(margin)) - e * (-log sigma(-margin))) / (1 - 2 e)
    (Chowdhury et al. 2024, arXiv 2403.00409.) cDPO, dpo_loss with smoothing, adds the second term instead.

    label_smoothing: e, the probability that a label is flipped, from 0 up to, not including, 0.5.
    Known value: log 2 at the reference; dpo_loss where e is 0. It is below 0 for large margins where e is not 0.
    """
    check_fraction("label_smoothing", label_smoothing, below=0.5)
    as_labelled = dpo_loss(chosen_logratios, rejected_logratios, beta=beta)
    flipped = dpo_loss(rejected_logratios, chosen_logratios, beta=beta)
    return ((1 - label_smoothing) * as_labelled - label_smoothing * flipped) / (1 - 2 * label_smoothing)


def exo_loss(
    chosen_logratios: Float[Tensor, " batch"],
    rejected_logratios: Float[Tensor, " batch"],
    *,
    beta: float,
    label_smoothing: float = 1e-3,
) -> Float[Tensor, " batch"]:
    """EXO loss of each pair, in nats: the KL divergence from the policy's preference to the smoothed label.

    loss = q log(q / (1 - e)) + (1 - q) log((1 - q) / e), q = sigma(margin)
    (Ji et al. 2024, arXiv 2402.00856, Eq. 16.) The reverse of cDPO, whose KL has the label first.

    label_smoothing: e, above 0 (the KL is infinite at 0) and below 0.5; the paper's value is 0.001.
    Known value: -log(2) - log(e (1 - e)) / 2 at the reference; 0 where q = 1 - e.
    """
    check_positive("label_smoothing", label_smoothing)
    check_fraction("label_smoothing", label_smoothing, below=0.5)
    log_q = -dpo_loss(chosen_logratios, rejected_logratios, beta=beta)
    log_not_q = -dpo_loss(rejected_logratios, chosen_logratios, beta=beta)
    log_label, log_not_label = math.log1p(-label_smoothing), math.log(label_smoothing)
    return log_q.exp() * (log_q - log_label) + log_not_q.exp() * (log_not_q - log_not_label)


def nca_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """NCA loss of each pair, in nats: it also keeps the chosen response from losing probability.

    loss = -log sigma(r_w) - (log sigma(-r_w) + log sigma(-r_l)) / 2   (Chen et al. 2024, arXiv 2402.05369)

    Known value: 2 log 2 at the reference.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    chosen, rejected = beta * chosen_logratios, beta * rejected_logratios
    return -logsigmoid(chosen) - (logsigmoid(-chosen) + logsigmoid(-rejected)) / 2


def bco_loss(
    chosen_logratios: Float[Tensor, " batch"],
    rejected_logratios: Float[Tensor, " batch"],
    *,
    beta: float,
    reward_shift: float = 0.0,
) -> Float[Tensor, " batch"]:
    """BCO loss of each pair, in nats: a classifier that labels chosen responses 1 and rejected ones 0.

    loss = -log sigma(r_w - delta) - log sigma(delta - r_l)   (Jung et al. 2024, arXiv 2404.04656)

    reward_shift: delta, in nats. In the paper it is a running mean of (r_w + r_l) / 2 over training. This function
    keeps no state, so the caller may pass that mean. At 0, the default, it is TRL's "bco_pair".
    Known value: 2 log 2 at the reference, without shift.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    return -logsigmoid(beta * chosen_logratios - reward_shift) - logsigmoid(reward_shift - beta * rejected_logratios)


def sppo_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """SPPO loss of each pair, in nats squared, with hard labels: both log-ratios have a target, ±1 / (2 beta).

    loss = (h_w - 1 / (2 beta))^2 + (h_l + 1 / (2 beta))^2
    (Wu et al. 2024, arXiv 2405.00675, with eta = 1 / beta and win probabilities of 1 and 0.)

    Known value: 1 / (2 beta^2) at the reference; 0 where h_w = 1 / (2 beta) = -h_l.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    target = 1 / (2 * beta)
    return (chosen_logratios - target).square() + (rejected_logratios + target).square()


def apo_zero_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """APO-zero loss of each pair, a number from 0 to 2: chosen up and rejected down, independently.

    loss = 1 - sigma(r_w) + sigma(r_l)   (D'Oosterlinck et al. 2024, arXiv 2408.06266, Eq. 7)
    For chosen responses that are better than what the model writes.

    Known value: 1 at the reference.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    return torch.sigmoid(-beta * chosen_logratios) + torch.sigmoid(beta * rejected_logratios)


def apo_down_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """APO-down loss of each pair, a number from 0 to 2: chosen down, rejected further down.

    loss = sigma(r_w) + 1 - sigma(r_w - r_l)   (D'Oosterlinck et al. 2024, arXiv 2408.06266, Eq. 8)
    For chosen responses that are worse than what the model writes.

    Known value: 1 at the reference.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    return torch.sigmoid(beta * chosen_logratios) + torch.sigmoid(beta * (rejected_logratios - chosen_logratios))


def discopop_loss(
    chosen_logratios: Float[Tensor, " batch"],
    rejected_logratios: Float[Tensor, " batch"],
    *,
    beta: float,
    tau: float = 0.05,
) -> Float[Tensor, " batch"]:
    """DiscoPOP loss of each pair, in nats: a blend, found by search, of the logistic and the exponential loss.

    loss = (1 - s) * (-log sigma(margin)) + s * exp(-margin), s = sigma(margin / tau)
    (Lu et al. 2024, arXiv 2406.08414.) It is not convex: at the reference its slope in the margin is
    (1 - log 2) / (4 tau) - 3/4, which is +0.78 for the default tau, so that training starts by lowering margins.
    Naive: s * exp(-margin), NaN in float32 for margins below -88; here exp(log s - margin), finite for tau <= 1.

    tau: width of the transition from one to the other, in nats of margin, above 0.
    Known value: (log 2 + 1) / 2 at the reference.
    """
    check_positive("tau", tau)
    logistic = dpo_loss(chosen_logratios, rejected_logratios, beta=beta)
    margin = beta * (chosen_logratios - rejected_logratios)
    return torch.sigmoid(-margin / tau) * logistic + (logsigmoid(margin / tau) - margin).exp()


def dpop_loss(
    chosen_logratios: Float[Tensor, " batch"],
    rejected_logratios: Float[Tensor, " batch"],
    *,
    beta: float,
    penalty: float = 50.0,
) -> Float[Tensor, " batch"]:
    """DPO-Positive loss of each pair, in nats: DPO with a penalty on a chosen response that lost probability.

    loss = -log sigma(beta * (h_w - h_l - lambda * max(0, -h_w)))   (Smaug, Pal et al. 2024, arXiv 2402.13228)

    penalty: lambda, without unit, above 0; the paper's value is 50.
    Known value: log 2 at the reference; dpo_loss wherever h_w >= 0.
    """
    check_positive("penalty", penalty)
    return dpo_loss(chosen_logratios - penalty * torch.relu(-chosen_logratios), rejected_logratios, beta=beta)
