"""The losses that the command line knows by name, each with the inputs that it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from dpo_notes.maths import loss_family
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss


@dataclass(frozen=True)
class NamedLoss:
    """A loss; whether it takes sums or per-token means, and log-ratios to a reference or plain log-probabilities."""

    function: Callable[..., Tensor]
    reduction: str = "sum"
    needs_reference: bool = True


def cpo_with_nll(chosen_logps: Tensor, rejected_logps: Tensor, *, beta: float) -> Tensor:
    """CPO as its paper trains it: the preference term plus the negative log-likelihood of the chosen response, in nats.

    loss = cpo_loss - log pi(y_w), summed over tokens (Xu et al. 2024, arXiv 2401.08417).
    Known value: log 2 - log pi(y_w) when both responses are equally likely.
    """
    return loss_family.cpo_loss(chosen_logps, rejected_logps, beta=beta) - chosen_logps


LOSSES: dict[str, NamedLoss] = {
    "dpo": NamedLoss(dpo_loss),
    "cdpo": NamedLoss(partial(dpo_loss, label_smoothing=0.1)),
    "robust": NamedLoss(partial(loss_family.robust_loss, label_smoothing=0.1)),
    "ipo": NamedLoss(loss_family.ipo_loss, reduction="mean"),
    "hinge": NamedLoss(loss_family.hinge_loss),
    "exo": NamedLoss(loss_family.exo_loss),
    "nca": NamedLoss(loss_family.nca_loss),
    "bco": NamedLoss(loss_family.bco_loss),
    "sppo": NamedLoss(loss_family.sppo_loss),
    "aot": NamedLoss(loss_family.aot_loss),
    "apo-zero": NamedLoss(loss_family.apo_zero_loss),
    "apo-down": NamedLoss(loss_family.apo_down_loss),
    "discopop": NamedLoss(loss_family.discopop_loss),
    "dpop": NamedLoss(loss_family.dpop_loss),
    "simpo": NamedLoss(loss_family.simpo_loss, reduction="mean", needs_reference=False),
    "orpo": NamedLoss(loss_family.orpo_loss, reduction="mean", needs_reference=False),
    "cpo": NamedLoss(cpo_with_nll, needs_reference=False),
}


def loss_named(name: str) -> NamedLoss:
    """The loss of this name. For an unknown name, raises an InputError that lists all names."""
    if name not in LOSSES:
        raise InputError(f"loss is {name!r}; expected one of {', '.join(LOSSES)}")
    return LOSSES[name]
