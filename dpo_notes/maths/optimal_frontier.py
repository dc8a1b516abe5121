"""The reward-KL frontier for countable responses: what the optimal policy reaches at each price of a nat."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence, optimal_policy

HALVINGS = 60  # of an interval of log beta; what is left is below float64 rounding


def optimal_point(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"], *, beta: float
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """(E[r], KL) of the policy that maximises E[r] - beta * KL(pi || pi_ref): reward, and nats.

    Both fall as beta rises, and dE[r] / dKL = beta: along the frontier, beta is the price of the last nat. No policy
    has a higher reward at the same KL. Arguments and errors as in `optimal_policy`.
    Known value: for a large beta the mean reward under the reference, and 0; for a small beta the highest reward, and
    -log of the reference's probability of the responses that have it.
    """
    best = optimal_policy(reward, ref_log_probs, beta=beta)
    return (best.exp() * reward).sum(dim=-1), kl_divergence(best, ref_log_probs)


def beta_for_kl(reward: Float[Tensor, " responses"], ref_log_probs: Float[Tensor, " responses"], *, kl: float) -> float:
    """The beta (reward per nat) whose optimal policy is `kl` nats from the reference.

    So it solves max E[r] subject to KL(pi || pi_ref) <= kl, and beta is the value of one more nat of budget. It is
    found by bisection on log beta, because the KL falls strictly as beta rises.

    kl: above 0 and below -log pi_ref(the best responses), which no optimal policy exceeds.
    Errors: InputError for a kl that no beta gives (any, if all rewards are equal), and those of `optimal_policy`.
    Known value: rewards 0 and 1 of two equally likely responses: the KL of the policy sigma(1), 0.1109, needs beta 1.
    """
    spread = (reward.max() - reward.min()).item()
    # Where all other responses have e^-60 of the best ones' weight, and where the KL is about e^-60 squared.
    low, high = math.log(max(spread, 1e-300) / 700), math.log(max(spread, 1e-300)) + 30
    farthest = -torch.logsumexp(ref_log_probs[reward == reward.max()], dim=0).item()
    if not (spread > 0 and 0 < kl < farthest):
        raise InputError(f"kl is {kl!r}; expected above 0 and below {farthest if spread > 0 else 0:.6g}, where it ends")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        too_far = optimal_point(reward, ref_log_probs, beta=math.exp(middle))[1].item() > kl
        low, high = (middle, high) if too_far else (low, middle)
    return math.exp((low + high) / 2)
