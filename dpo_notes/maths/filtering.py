"""Filtering: the policy that imitates only the chosen responses (supervised fine-tuning on the chosen)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_nll
from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import check_distributions


def chosen_policy(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"]
) -> Float[Tensor, "*batch responses"]:
    """Log-probabilities (nats) of the chosen response when two are drawn from the reference and compared.

    pi_chosen(y) = 2 * pi_ref(y) * E_{y' ~ pi_ref}[sigma(r(y) - r(y'))]
    Either of the two draws may be y, hence the 2. It is the optimum of supervised fine-tuning on the chosen responses.
    The factor on pi_ref(y) lies between pi_ref(y), the chance that the other draw is y too, and 2 - pi_ref(y). So not
    even the highest reward can double a probability.

    reward: of each response, in nats of Bradley–Terry, finite. ref_log_probs: normalised over the last axis.
    Raises InputError for a wrong shape or normalisation.
    Known value: the reference itself if all rewards are equal; best-of-two (`best_of_n_policy(…, n=2)`) in the limit
    of rewards far apart.
    """
    check_same_shape(reward=reward, ref_log_probs=ref_log_probs)
    check_distributions(ref_log_probs=ref_log_probs)
    mine, other = torch.broadcast_tensors(reward[..., :, None], reward[..., None, :])
    log_win_rate = torch.logsumexp(ref_log_probs[..., None, :] - preference_nll(mine, other), dim=-1)
    return ref_log_probs + math.log(2) + log_win_rate


def filtering_rounds(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"], *, rounds: int
) -> Float[Tensor, "rounds *batch responses"]:
    """Log-probabilities (nats) after 0, 1, …, `rounds` rounds of comparing two draws and imitating the chosen one.

    pi_0 = pi_ref;  pi_k = `chosen_policy` with pi_{k-1} as the reference. Every round needs new comparisons.
    The expected reward never falls, and after k rounds no probability has grown by 2^k or more.

    Arguments and errors as in `chosen_policy`; rounds: 0 or more.
    Known value: with rewards far apart, best of 2^k draws (`best_of_n_policy(…, n=2**k)`).
    """
    if type(rounds) is not int or rounds < 0:
        raise InputError(f"rounds is {rounds!r}; expected a whole number of at least 0")
    policies = [ref_log_probs]
    for _ in range(rounds):
        # Normalise again: the total of chosen_policy is the square of the reference's, so rounding errors would double.
        policies.append(chosen_policy(reward, policies[-1]).log_softmax(dim=-1))
    return torch.stack(policies)
