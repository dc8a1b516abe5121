"""The KL-constrained optimum for countable responses: the last axis runs over all of them."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_positive, check_same_shape
from dpo_notes.maths.errors import InputError

NORMALISATION_TOLERANCE = 1e-3  # float32 log-softmax over a whole vocabulary stays well within it; raw logits do not


def kl_divergence(
    log_p: Float[Tensor, "*batch responses"], log_q: Float[Tensor, "*batch responses"]
) -> Float[Tensor, "*batch"]:
    """KL(p || q) in nats, 0 or more.

    KL(p || q) = sum over y of p(y) * (log p(y) - log q(y)), with 0 log 0 = 0; infinite where p(y) > 0 and q(y) = 0.
    The order matters: in this project p is the policy and q the reference.

    log_p, log_q: normalised log-probabilities over the last axis; -inf stands for probability 0.
    Raises InputError where the shapes differ or a distribution does not sum to 1.
    Known value: 0 when p equals q; log n when p is certain of one of n responses and q is uniform over them.
    """
    check_distributions(log_p=log_p, log_q=log_q)
    return _expectation(log_p, log_p - log_q)


def log_partition(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"], *, beta: float
) -> Float[Tensor, "*batch"]:
    """log Z, the logarithm of the partition function, in nats.

    Z = sum over y of pi_ref(y) * exp(reward(y) / beta)   (Rafailov et al. 2023, arXiv 2305.18290, below Eq. 4)
    Computed as logsumexp(log pi_ref + reward / beta), because exp(reward / beta) overflows for a small beta.

    reward: in nats, finite. ref_log_probs: normalised log-probabilities of the reference. beta: price of a nat of
    KL in nats of reward, above 0. Raises InputError for a wrong beta, shape or normalisation.
    Known value: c / beta when every reward is c. beta * log Z is the highest value of rlhf_objective.
    """
    check_positive("beta", beta)
    check_same_shape(reward=reward, ref_log_probs=ref_log_probs)
    check_distributions(ref_log_probs=ref_log_probs)
    return torch.logsumexp(ref_log_probs + reward / beta, dim=-1)


def optimal_policy(
    reward: Float[Tensor, "*batch responses"], ref_log_probs: Float[Tensor, "*batch responses"], *, beta: float
) -> Float[Tensor, "*batch responses"]:
    """Log-probabilities of the policy that maximises rlhf_objective, in nats.

    pi*(y) = pi_ref(y) * exp(reward(y) / beta) / Z   (Rafailov et al. 2023, arXiv 2305.18290, Eq. 4;
    Peng et al. 2019, arXiv 1910.00177, appendix)

    Arguments and errors as in log_partition. A response of reference probability 0 stays at 0.
    Known value: the reference itself when every reward is the same. For beta towards infinity it tends to the
    reference, for beta towards 0 to the best response.
    """
    log_z = log_partition(reward, ref_log_probs, beta=beta)
    return ref_log_probs + reward / beta - log_z[..., None]


def rlhf_objective(
    log_probs: Float[Tensor, "*batch responses"],
    reward: Float[Tensor, "*batch responses"],
    ref_log_probs: Float[Tensor, "*batch responses"],
    *,
    beta: float,
) -> Float[Tensor, "*batch"]:
    """J, the expected reward of a policy minus beta times its KL from the reference, in nats of reward.

    J(pi) = sum over y of pi(y) * reward(y) - beta * KL(pi || pi_ref)   (Rafailov et al. 2023, arXiv 2305.18290, Eq. 3)

    log_probs: normalised log-probabilities of the policy. Other arguments and errors as in log_partition.
    Known value: the mean reward under the reference when policy equals reference.
    """
    check_positive("beta", beta)
    check_same_shape(log_probs=log_probs, reward=reward, ref_log_probs=ref_log_probs)
    check_distributions(log_probs=log_probs, ref_log_probs=ref_log_probs)
    return _expectation(log_probs, reward) - beta * kl_divergence(log_probs, ref_log_probs)


def implicit_reward(
    policy_logps: Float[Tensor, "*shape"], ref_logps: Float[Tensor, "*shape"], *, beta: float
) -> Float[Tensor, "*shape"]:
    """The reward for which the policy is optimal, in nats, up to a constant per prompt.

    r-hat(y) = beta * log(pi(y) / pi_ref(y))   (Rafailov et al. 2023, arXiv 2305.18290, Eq. 5 without beta * log Z)

    policy_logps, ref_logps: log-probabilities of the same responses under policy and reference, in nats, summed over
    tokens. beta: above 0. Raises InputError for a wrong beta or shapes that differ.
    Known value: 0 when policy equals reference; reward - beta * log Z for the optimal policy.
    """
    check_positive("beta", beta)
    check_same_shape(policy_logps=policy_logps, ref_logps=ref_logps)
    return beta * (policy_logps - ref_logps)


def check_distributions(**tensors: Tensor) -> None:
    """Raise InputError unless all tensors have one shape and are normalised log-probabilities over their last axis."""
    check_same_shape(**tensors)
    for name, log_probs in tensors.items():
        total = torch.logsumexp(log_probs.detach(), dim=-1)
        if not (total.abs() <= NORMALISATION_TOLERANCE).all():  # written so that NaN fails
            worst = total.flatten()[total.abs().nan_to_num(nan=torch.inf).argmax()].exp().item()
            raise InputError(
                f"{name}: the probabilities along the last axis sum to {worst:.6g}; expected 1 "
                "(log-probabilities, as log_softmax gives them)"
            )


def _expectation(log_p: Tensor, values: Tensor) -> Tensor:
    """Sum over the last axis of p * values. A response of probability 0 counts as 0, whatever its value."""
    p = log_p.exp()
    # Replace the value before the product: 0 * inf is NaN, and replacing it afterwards leaves a NaN gradient.
    return (p * torch.where(p > 0, values, torch.zeros_like(values))).sum(dim=-1)
