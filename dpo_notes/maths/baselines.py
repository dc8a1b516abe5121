"""Baselines: what to compare the reward of a sample with, for a policy gradient with less noise.

Each takes the rewards of independent samples, along the last axis, and returns one baseline for each sample (reward).
"""

from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError


def no_baseline(rewards: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """No baseline: 0 for every sample. The gradient estimate is unbiased, and as noisy as the rewards."""
    return rewards.new_zeros(rewards.shape)


def batch_mean(rewards: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """The mean reward of all samples, including the sample's own.

    Because it includes the sample's own reward, the expected gradient shrinks by the factor 1 - 1/n, for n samples. Its
    direction stays the same, so the learning rate can make up for it. For n = 1 the advantage is 0.
    Known value: rewards 1, 2, 6 have the baselines 3, 3, 3.
    """
    return rewards.mean(dim=-1, keepdim=True).expand_as(rewards)


def leave_one_out(rewards: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """The mean reward of the other samples.

    b_i = (sum over j of r_j - r_i) / (n - 1)        (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for
    free!"; for language models Ahmadian et al. 2024, arXiv 2402.14740)

    It does not depend on sample i, so the gradient estimate is unbiased. The advantage is n / (n - 1) times the one of
    `batch_mean`. Errors: InputError for fewer than two samples, where there is no other sample.
    Known value: rewards 1, 2, 6 have the baselines 4, 3.5, 1.5.
    """
    count = rewards.shape[-1]
    if count < 2:
        raise InputError(f"rewards has shape {tuple(rewards.shape)}; expected at least two samples along the last axis")
    return (rewards.sum(dim=-1, keepdim=True) - rewards) / (count - 1)
