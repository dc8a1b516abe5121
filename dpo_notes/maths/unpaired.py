"""Losses for good and bad responses that do not come in pairs: AOT, and KTO with its baseline."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_positive, check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss


def aot_loss(
    chosen_logratios: Float[Tensor, " batch"], rejected_logratios: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """AOT loss, unpaired form, in nats, one value per rank in the batch: from the lowest log-ratios to the highest.

    loss_i = -log sigma(beta * (i-th smallest chosen log-ratio - i-th smallest rejected log-ratio))
    (Melnyk et al. 2024, arXiv 2406.05882.) It pushes the distribution of chosen log-ratios above that of rejected ones.
    Which log-ratios are compared depends on the batch, so several small batches are not one large batch. The paper's
    paired form is the same function of other inputs: chosen minus rejected logps, under the policy and the reference.

    chosen_logratios, rejected_logratios: policy minus reference log-probabilities, summed over tokens, in nats; equally
    many of both, in any order. beta: above 0. Raises InputError as dpo_loss does.
    Known value: log 2 when policy equals reference; dpo_loss when both inputs are already sorted.
    """
    return dpo_loss(_sorted(chosen_logratios), _sorted(rejected_logratios), beta=beta)


def kto_loss(
    chosen_logratios: Float[Tensor, " chosen"],
    rejected_logratios: Float[Tensor, " rejected"],
    *,
    beta: float,
    kl_baseline: Float[Tensor, ""],
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Float[Tensor, " examples"]:
    """KTO loss of each example, chosen ones first, each from 0 to its weight; the caller takes the mean over all.

    chosen: lambda_D * (1 - sigma(beta * (h - z)));  rejected: lambda_U * (1 - sigma(beta * (z - h)))
    (Ethayarajh et al. 2024, arXiv 2402.01306)

    chosen_logratios, rejected_logratios: log-ratio h of each good and each bad response, summed over tokens, in nats;
    not pairs, so their numbers may differ, and one may be 0. beta: above 0. kl_baseline: z, one number in nats, as from
    kto_baseline; detached here. desirable_weight, undesirable_weight: lambda_D, lambda_U, above 0.
    Raises InputError outside these ranges, for tensors without one value per example, or another shape of baseline.
    Known value: 1/2 times its weight for each example when policy equals reference.
    """
    for name, value in (("desirable_weight", desirable_weight), ("undesirable_weight", undesirable_weight)):
        check_positive(name, value)
    check_positive("beta", beta)
    for name, tensor, axes in (
        ("chosen_logratios", chosen_logratios, 1),
        ("rejected_logratios", rejected_logratios, 1),
        ("kl_baseline", kl_baseline, 0),
    ):
        check_same_shape(**{name: tensor})
        if tensor.ndim != axes:
            raise InputError(f"{name} has shape {tuple(tensor.shape)}; expected {'(examples,)' if axes else '()'}")
    baseline = kl_baseline.detach()
    chosen = desirable_weight * torch.sigmoid(beta * (baseline - chosen_logratios))
    rejected = undesirable_weight * torch.sigmoid(beta * (rejected_logratios - baseline))
    return torch.cat([chosen, rejected])


def kto_baseline(mismatched_logratios: Float[Tensor, " batch"]) -> Float[Tensor, ""]:
    """z, a cheap estimate of KL(policy || reference) over the batch, in nats, 0 or more, detached.

    z = max(0, mean of the log-ratios of responses to other prompts)   (Ethayarajh et al. 2024, arXiv 2402.01306)

    mismatched_logratios: log-ratio, summed over tokens, of each prompt followed by the response to another prompt.
    Raises InputError where it is not one value per example or is empty.
    Known value: 0 when policy equals reference.
    """
    check_same_shape(mismatched_logratios=mismatched_logratios)
    if mismatched_logratios.ndim != 1 or len(mismatched_logratios) == 0:
        shape = tuple(mismatched_logratios.shape)
        raise InputError(f"mismatched_logratios has shape {shape}; expected one value per example, at least one")
    return mismatched_logratios.detach().mean().clamp(min=0)


def _sorted(values: Tensor) -> Tensor:
    return values.sort(dim=0).values
