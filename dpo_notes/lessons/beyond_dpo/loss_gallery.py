"""The family of losses side by side: each as a function of the two log-ratios of the two-answer world."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.f_divergence import f_divergence_score
from dpo_notes.maths.loss_family import kto_loss
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.training.preference_loss import LOSSES, PreferenceLoss
from dpo_notes.worlds.finite.two_answers import expected_loss, expected_push

PairLoss = Callable[..., Tensor]


def _of_logratios(named: PreferenceLoss) -> PairLoss:
    """The loss as a function of log-ratios; one without a reference gets log pi = log-ratio + log(1/2)."""
    if named.needs_reference:
        return named.function

    def of_logratios(chosen: Tensor, rejected: Tensor, *, beta: float) -> Tensor:
        return named.function(chosen - math.log(2), rejected - math.log(2), beta=beta)

    return of_logratios


def _with_divergence(kind: str) -> PairLoss:
    def of_scores(chosen: Tensor, rejected: Tensor, *, beta: float) -> Tensor:
        return dpo_loss(f_divergence_score(chosen, kind), f_divergence_score(rejected, kind), beta=beta)

    return of_scores


def kto_at_zero(
    chosen: Float[Tensor, " batch"], rejected: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """KTO of a chosen plus a rejected response (0 to 2), with its baseline z at 0, where training begins."""
    examples = kto_loss(chosen, rejected, beta=beta, kl_baseline=torch.zeros((), dtype=chosen.dtype))
    return examples.view(2, -1).sum(dim=0)


# Every answer is one token here, so sums and means are the same. AOT is left out: for a single pair it is DPO.
GALLERY: dict[str, PairLoss] = {name: _of_logratios(named) for name, named in LOSSES.items() if name != "aot"} | {
    "kto, z = 0": kto_at_zero,
    "dpo, forward KL": _with_divergence("forward_kl"),
    "dpo, Jensen-Shannon": _with_divergence("js_divergence"),
    "dpo, alpha 1/2": _with_divergence("alpha_divergence"),
}


def scaled(
    name: str, rewards: Float[Tensor, " points"], *, beta: float, preference: float
) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
    """(loss, push) of one of the GALLERY at these values of beta * margin, in a unit that all losses share.

    The loss is given relative to the reference, and both are divided by the push of a sure label at the reference.
    Known value: the push at the reference is 2p - 1, whatever the loss (DiscoPOP's begins the wrong way: 1 - 2p).
    """
    loss_fn, margins = GALLERY[name], rewards / beta
    start = torch.zeros(1, dtype=rewards.dtype)
    unit = expected_push(loss_fn, start, beta=beta, preference=1.0).abs()
    loss = expected_loss(loss_fn, margins, beta=beta, preference=preference)
    at_start = expected_loss(loss_fn, start, beta=beta, preference=preference)
    push = expected_push(loss_fn, margins, beta=beta, preference=preference)
    return (loss - at_start) / (unit / beta), push / unit
