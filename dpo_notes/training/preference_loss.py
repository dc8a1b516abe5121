"""Losses of comparisons and the log-probabilities that each one takes: the table of names, and `PreferenceLoss` for your own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor

from dpo_notes.maths import loss_family
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.training.config import check_choice


@dataclass(frozen=True)
class PreferenceLoss:
    """A loss, and which log-probabilities of the two responses it is defined on.

    function(chosen, rejected, *, beta): one value for each pair, in nats. reduction: "sum" of the log-probabilities over
    the tokens of a response, or their "mean". needs_reference: whether the function gets log-ratios, policy minus
    reference; otherwise it gets the policy's own log-probabilities. Raises InputError for another reduction.
    """

    function: Callable[..., Tensor]
    reduction: str = "sum"
    needs_reference: bool = True

    def __post_init__(self):
        check_choice("reduction", self.reduction, choices=("sum", "mean"))


def cpo_with_nll(chosen_logps: Tensor, rejected_logps: Tensor, *, beta: float) -> Tensor:
    """CPO as its paper trains it: the preference term plus the negative log-likelihood of the chosen response, in nats.

    loss = cpo_loss - log pi(y_w), summed over tokens (Xu et al. 2024, arXiv 2401.08417).
    Known value: log 2 - log pi(y_w) when both responses are equally likely.
    """
    return loss_family.cpo_loss(chosen_logps, rejected_logps, beta=beta) - chosen_logps


LOSSES: dict[str, PreferenceLoss] = {
    "dpo": PreferenceLoss(dpo_loss),
    "cdpo": PreferenceLoss(partial(dpo_loss, label_smoothing=0.1)),
    "robust": PreferenceLoss(partial(loss_family.robust_loss, label_smoothing=0.1)),
    "ipo": PreferenceLoss(loss_family.ipo_loss, reduction="mean"),
    "hinge": PreferenceLoss(loss_family.hinge_loss),
    "exo": PreferenceLoss(loss_family.exo_loss),
    "nca": PreferenceLoss(loss_family.nca_loss),
    "bco": PreferenceLoss(loss_family.bco_loss),
    "sppo": PreferenceLoss(loss_family.sppo_loss),
    "aot": PreferenceLoss(loss_family.aot_loss),
    "apo-zero": PreferenceLoss(loss_family.apo_zero_loss),
    "apo-down": PreferenceLoss(loss_family.apo_down_loss),
    "discopop": PreferenceLoss(loss_family.discopop_loss),
    "dpop": PreferenceLoss(loss_family.dpop_loss),
    "simpo": PreferenceLoss(loss_family.simpo_loss, reduction="mean", needs_reference=False),
    "orpo": PreferenceLoss(loss_family.orpo_loss, reduction="mean", needs_reference=False),
    "cpo": PreferenceLoss(cpo_with_nll, needs_reference=False),
}


def preference_loss(loss: str | PreferenceLoss | Callable[..., Tensor]) -> PreferenceLoss:
    """The `PreferenceLoss` for a name of `LOSSES`, for a function, or for itself.

    A function of the package, or a `partial` of one, takes what its entry in the table says. Any other function takes summed
    log-ratios; if yours does not, pass a `PreferenceLoss`. Raises InputError, listing the names, for an unknown name.
    """
    if isinstance(loss, PreferenceLoss):
        return loss
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise InputError(f"loss is {loss!r}; expected one of {', '.join(LOSSES)}")
        return LOSSES[loss]
    return replace(_FED.get(_bare(loss), PreferenceLoss(loss)), function=loss)


def _bare(function: Callable) -> Callable:
    """A function without the arguments that it was given beforehand."""
    return _bare(function.func) if isinstance(function, partial) else function


# What the package's own functions take; plain CPO has no name of its own.
_FED = {_bare(entry.function): entry for entry in LOSSES.values()} | {loss_family.cpo_loss: LOSSES["cpo"]}
