"""Policy gradients: REINFORCE, PPO's clipped loss, returns and advantages, and the KL divergence from samples.

Losses and estimators return one value per element (a response, or a token); the caller takes the mean. If a mask
says which steps count, the others are returned as 0, and `masked_mean` takes the mean over those that count.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dpo_notes.maths.checks import check_positive, check_same_shape
from dpo_notes.maths.errors import InputError


def reinforce_loss(logps: Float[Tensor, "*shape"], advantages: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Loss of each sampled action (nats x reward), whose gradient is an estimate of minus the policy gradient.

    loss = -log pi(a | s) * A        (Williams 1992, REINFORCE)

    Only its gradient has a meaning: E[A * grad log pi] is the gradient of the expected return, but the loss itself is
    not an estimate of that return. Advantages are constants here: no gradient flows into them.

    logps: log-probability (nats) of what was sampled: of a token, or of a whole response (summed over tokens).
    advantages: how much better than a baseline it turned out (reward); with baseline 0, the return itself.
    Errors: InputError where the shapes differ.
    Known value: an action of probability 1/2 with advantage 1 has loss log 2.
    """
    check_same_shape(logps=logps, advantages=advantages)
    return -logps * advantages.detach()


def ppo_clip_loss(
    logps: Float[Tensor, "*shape"],
    old_logps: Float[Tensor, "*shape"],
    advantages: Float[Tensor, "*shape"],
    *,
    clip: float = 0.2,
) -> Float[Tensor, "*shape"]:
    """Loss of each sampled action (reward): minus PPO's clipped objective.

    loss = -min(ratio * A, clamp(ratio, 1 - clip, 1 + clip) * A), ratio = pi(a | s) / pi_old(a | s)
    (Schulman et al. 2017, Eq. 7)

    The minimum takes the worse of the two: pushing a ratio beyond the clip gains nothing, while a ratio that went the
    wrong way keeps its gradient. Where the policies agree, the gradient is that of `reinforce_loss`.

    logps, old_logps: log-probabilities (nats) of what was sampled, under the policy in training and under the one that
        sampled; the latter, like the advantages, is a constant.
    advantages: how much better than a baseline it turned out (reward).
    clip: how far from 1 the ratio may usefully move; above 0, without unit.
    Errors: InputError where the shapes differ or clip is not above 0.
    Known value: -A where the two policies agree.
    """
    check_same_shape(logps=logps, old_logps=old_logps, advantages=advantages)
    check_positive("clip", clip)
    advantages = advantages.detach()
    ratio = torch.exp(logps - old_logps.detach())
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def discounted_returns(
    rewards: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], *, discount: float
) -> Float[Tensor, "batch time"]:
    """Return (reward) from each step to the end of its episode: the discounted sum of the rewards from there on.

    G_t = r_t + discount * G_{t+1}        (Sutton and Barto 2018, Section 3.3)

    rewards: the reward that step t earned.
    mask: True on the steps of an episode, which ends with the last True of a run; steps outside come back as 0.
    discount: the value now of one unit of reward one step later; from 0 to 1, both included.
    Errors: InputError where shapes differ or discount is outside its range.
    Known value: rewards 0, 0, 1 at discount 0.9 give 0.81, 0.9, 1.
    """
    check_same_shape(rewards=rewards, mask=mask.to(rewards.dtype))
    _check_zero_to_one("discount", discount)
    returns = torch.zeros_like(rewards)
    later = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        later = torch.where(mask[:, t], rewards[:, t] + discount * later, 0.0)
        returns[:, t] = later
    return returns


def gae(
    rewards: Float[Tensor, "batch time"],
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    *,
    discount: float,
    lam: float,
) -> Float[Tensor, "batch time"]:
    """Advantage (reward) of each step, by generalised advantage estimation.

    A_t = sum over l >= 0 of (discount * lam)^l * delta_{t+l}        (Schulman et al. 2016, Eq. 16)
    delta_t = r_t + discount * V(s_{t+1}) - V(s_t)                   (the surprise at step t)

    So it is the return of the surprises, with discount * lam as the discount. lam trades bias for variance: 0 trusts
    the values (one-step surprise), 1 only the rewards (return minus value).

    rewards, values: the reward that step t earned, and the expected return V(s_t) before it. V after an episode's last
        step is 0. If an episode was cut short, add discount * V(state where it was cut) to its last reward.
    mask: True on the steps of an episode, which ends with the last True of a run; steps outside come back as 0.
    discount, lam: from 0 to 1, both included. For text, discount is usually 1.
    Errors: InputError where shapes differ or a number is outside its range.
    Known value: 0 everywhere where rewards and values are 0; lam 1 gives `discounted_returns` minus values.
    """
    check_same_shape(rewards=rewards, values=values)
    _check_zero_to_one("discount", discount)
    _check_zero_to_one("lam", lam)
    values = torch.where(mask, values, 0.0)
    next_values = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    surprises = rewards + discount * next_values - values
    return discounted_returns(surprises, mask, discount=discount * lam)


def masked_mean(values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Mean of the values (their unit) where the mask is True, over all axes at once, so every such step counts equally.

    Values outside the mask do not matter, not even NaN. Errors: InputError where shapes differ or the mask is empty.
    Known value: 2 for values 1, 3, 100 with mask True, True, False.
    """
    check_same_shape(values=values, mask=mask.to(values.dtype))
    if not mask.any():
        raise InputError(f"mask of shape {tuple(mask.shape)} has no True; expected at least one")
    return torch.where(mask, values, 0.0).sum() / mask.sum()


def whiten(advantages: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Advantages shifted to mean 0 and scaled to variance 1 over the mask (no unit); 0 outside it.

    (A - mean) / sqrt(variance + 1e-8), the variance with divisor n. So the learning rate does not depend on the scale
    of the rewards. Subtracting the mean of n independent samples shrinks the expected gradient by 1 - 1/n.

    Errors: InputError where shapes differ or the mask is empty.
    Known value: 1, 2, 3 give -1.2247, 0, 1.2247; equal advantages give 0.
    """
    centred = advantages - masked_mean(advantages, mask)
    variance = masked_mean(centred.square(), mask)
    return torch.where(mask, centred * torch.rsqrt(variance + 1e-8), 0.0)


def kl_k1(policy_logps: Float[Tensor, "*shape"], ref_logps: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """One-sample estimate (nats) of KL(pi || pi_ref) from what pi sampled: the log-ratio itself.

    k1 = log pi - log pi_ref        (Schulman 2020, "Approximating KL divergence"; there r = pi_ref / pi)

    It is unbiased, but has a high variance and is often negative, though a KL never is: near the reference its variance
    is about 2 KL, so its standard deviation is far larger than its mean. Summed over the tokens of a response it
    estimates the KL of the responses. As a loss it is useless, because its gradient has mean 0 under samples from pi.
    Put it into the reward instead.

    policy_logps, ref_logps: log-probabilities (nats) of the same samples of pi; per token, or per response (summed).
    Errors: InputError where shapes differ.
    Known value: 0 where policy equals reference.
    """
    check_same_shape(policy_logps=policy_logps, ref_logps=ref_logps)
    return policy_logps - ref_logps


def kl_k2(policy_logps: Float[Tensor, "*shape"], ref_logps: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """One-sample estimate (nats) of KL(pi || pi_ref) from what pi sampled: half the squared log-ratio.

    k2 = (log pi - log pi_ref)^2 / 2        (Schulman 2020, "Approximating KL divergence")

    It is biased: its mean agrees with the KL only to second order, so it is good near the reference and wrong far from
    it. It is never negative and has a low variance near the reference. Compute it per token, or per response: do not
    sum it over tokens and then square.
    As a loss its gradient is unbiased, unlike its value: under samples from pi it has mean grad KL(pi || pi_ref).

    policy_logps, ref_logps: as for `kl_k1`, with its errors.
    Known value: 0 where policy equals reference; (log 2)^2 / 2 where one is twice the other.
    """
    return kl_k1(policy_logps, ref_logps).square() / 2


def kl_k3(policy_logps: Float[Tensor, "*shape"], ref_logps: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """One-sample estimate (nats) of KL(pi || pi_ref) from what pi sampled: the log-ratio, with a control variate.

    k3 = (r - 1) - log r, r = pi_ref / pi        (Schulman 2020, "Approximating KL divergence")

    It is unbiased, because E[r - 1] = 0 if pi can sample all that pi_ref can, and never negative, as log r <= r - 1. It
    has a low variance near the reference. Far from it a rare r is enormous, and the variance may exceed that of k1.
    As a loss it follows another divergence: under samples from pi its gradient has mean grad KL(pi_ref || pi).
    r - 1 is computed as expm1(log r), which keeps its digits where r is close to 1.

    policy_logps, ref_logps: as for `kl_k1`, with its errors.
    Known value: 0 where policy equals reference; 1 - log 2 = 0.3069 where the reference is twice the policy.
    """
    log_ratio = kl_k1(policy_logps, ref_logps)
    return torch.expm1(-log_ratio) + log_ratio


def _check_zero_to_one(name: str, value: float) -> None:
    if not 0 <= value <= 1:  # written so that NaN fails
        raise InputError(f"{name} is {value!r}; expected a number from 0 to 1")
