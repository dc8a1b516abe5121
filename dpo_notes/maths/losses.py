"""Direct Preference Optimization: Bradley–Terry on implicit rewards."""

from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_nll, preference_probability
from dpo_notes.maths.checks import check_fraction, check_positive, check_same_shape
from dpo_notes.maths.errors import InputError


def dpo_loss(
    chosen_logratios: Float[Tensor, " batch"],
    rejected_logratios: Float[Tensor, " batch"],
    *,
    beta: float,
    label_smoothing: float = 0.0,
) -> Float[Tensor, " batch"]:
    """DPO loss of each pair, in nats.

    loss = -log sigma(beta * log(pi(y_w)/pi_ref(y_w)) - beta * log(pi(y_l)/pi_ref(y_l)))
    (Rafailov et al. 2023, arXiv 2305.18290, Eq. 7; y_w is the chosen response, y_l the rejected one.)
    With label_smoothing e it is cDPO, which assumes that a fraction e of the labels is flipped:
    loss = (1 - e) * (-log sigma(margin)) + e * (-log sigma(-margin))   (Mitchell 2023, a note on DPO with noisy
    preferences). Its minimum is then at a finite margin, log((1 - e) / e).

    chosen_logratios, rejected_logratios: policy minus reference log-probability of each response, summed over its
    tokens, in nats. beta: nats of reward per nat of log-ratio, above 0; usually 0.01 to 1.
    label_smoothing: from 0 up to, not including, 0.5.
    Raises InputError for these ranges and for shapes other than one value per pair.
    Known value: log 2, whatever beta and smoothing, when policy equals reference.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    check_fraction("label_smoothing", label_smoothing, below=0.5)
    reward_chosen, reward_rejected = beta * chosen_logratios, beta * rejected_logratios
    loss = preference_nll(reward_chosen, reward_rejected)
    if label_smoothing == 0:
        return loss
    return (1 - label_smoothing) * loss + label_smoothing * preference_nll(reward_rejected, reward_chosen)


def dpo_gradient_weight(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """How wrong the implicit rewards of each pair are: its weight in the gradient of DPO, from 0 to 1.

    weight = sigma(r_l - r_w), r = beta * log-ratio: the probability that the implicit rewards give to the wrong order.
    d dpo_loss / d chosen_logratios = -beta * weight, and + beta * weight for the rejected ones, without smoothing
    (Rafailov et al. 2023, arXiv 2305.18290, section 4, "What does the DPO update do?").

    Arguments and errors as in dpo_loss. Known value: 1/2 when policy equals reference.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    return preference_probability(beta * rejected_logratios, beta * chosen_logratios)


def preference_metrics(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> dict[str, Float[Tensor, " batch"]]:
    """Implicit rewards of each pair under the names of DPO's training logs, detached; the caller takes means.

    rewards/chosen, rewards/rejected: beta * log-ratio, in nats. rewards/margins: their difference, in nats.
    rewards/accuracies: 1 where chosen is strictly above rejected, else 0; a tie counts as wrong, as in TRL.

    Arguments and errors as in dpo_loss. Known value: all four are 0 when policy equals reference.
    """
    check_per_pair(beta, chosen_logratios=chosen_logratios, rejected_logratios=rejected_logratios)
    chosen, rejected = beta * chosen_logratios.detach(), beta * rejected_logratios.detach()
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
    }


def check_per_pair(beta: float, **tensors: Tensor) -> None:
    """Raise InputError unless beta is above 0 and each tensor has one value per pair, as every paired loss needs."""
    check_positive("beta", beta)
    check_same_shape(**tensors)
    for name, tensor in tensors.items():
        if tensor.ndim != 1:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)}; expected one value per pair, (batch,): "
                "sequence_logps turns per-token values into one per response"
            )
