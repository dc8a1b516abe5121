"""Paired losses without a reference: they take only log-probabilities of the policy."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_nll
from dpo_notes.maths.losses import check_per_pair


def cpo_loss(
    chosen_logps: Float[Tensor, " batch"], rejected_logps: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """CPO preference loss of each pair, in nats: DPO with a uniform reference.

    loss = -log sigma(beta * log pi(y_w) - beta * log pi(y_l))   (Xu et al. 2024, arXiv 2401.08417)
    The full CPO objective adds the negative log-likelihood of the chosen response; the caller has to add it.

    chosen_logps, rejected_logps: log-probabilities of the two responses under the policy, summed over tokens, in
    nats. beta: nats of reward per nat, above 0. Raises InputError as dpo_loss does.
    Known value: log 2 when both responses are equally probable.
    """
    check_per_pair(beta, chosen_logps=chosen_logps, rejected_logps=rejected_logps)
    return preference_nll(beta * chosen_logps, beta * rejected_logps)


def simpo_loss(
    chosen_logps: Float[Tensor, " batch"], rejected_logps: Float[Tensor, " batch"], *, beta: float, gamma: float = 0.5
) -> Float[Tensor, " batch"]:
    """SimPO loss of each pair, in nats.

    loss = -log sigma(beta * mean logp(y_w) - beta * mean logp(y_l) - gamma)   (Meng et al. 2024, arXiv 2405.14734)

    chosen_logps, rejected_logps: mean over tokens of the policy's log-probabilities, in nats per token. beta: above
    0; larger than for sums, usually 2 to 10. gamma: the target margin, in nats of reward, any finite value; it is
    the paper's gamma and TRL's simpo_gamma, not the ratio gamma / beta in which some settings are given.
    Raises InputError as dpo_loss does.
    Known value: log(1 + exp(gamma)) when both means are equal; log 2 when the margin is gamma.
    """
    check_per_pair(beta, chosen_logps=chosen_logps, rejected_logps=rejected_logps)
    return preference_nll(beta * chosen_logps - gamma, beta * rejected_logps)


def orpo_loss(
    chosen_logps: Float[Tensor, " batch"], rejected_logps: Float[Tensor, " batch"], *, beta: float
) -> Float[Tensor, " batch"]:
    """ORPO loss of each pair, in nats: likelihood of the chosen response plus a preference on the odds.

    loss = -logp(y_w) + beta * (-log sigma(log odds(y_w) - log odds(y_l))), odds = p / (1 - p), p = exp(logp)
    (Hong et al. 2024, arXiv 2403.07691, where beta is called lambda.)
    TRL's likelihood term is a mean over all tokens of the batch, prompts included; here it is the response's own mean.

    chosen_logps, rejected_logps: mean over tokens of the policy's log-probabilities, in nats per token, at most 0;
    above 0, as log-ratios may be, the result is NaN. At 0, certainty, odds would be infinite, so a mean closer to 0
    than the dtype's epsilon gets the odds of epsilon. beta: weight of the preference, above 0. Errors as in dpo_loss.
    Known value: log 2 * (1 + beta) when both means are -log 2.
    """
    check_per_pair(beta, chosen_logps=chosen_logps, rejected_logps=rejected_logps)
    return -chosen_logps + beta * preference_nll(_log_odds(chosen_logps), _log_odds(rejected_logps))


def _log_odds(logps: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p; 1 - p as -expm1(log p), which keeps its digits where p is close to 1."""
    step = torch.finfo(logps.dtype).eps
    below_certainty = torch.where((logps <= 0) & (logps > -step), torch.full_like(logps, -step), logps)
    return below_certainty - torch.log(-torch.expm1(below_certainty))
