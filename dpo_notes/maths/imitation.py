"""Imitation: what it costs, in the loss of supervised fine-tuning, to do better than the data."""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence


def price_of_share(
    data_share: Float[Tensor, "*shape"], policy_share: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """The least extra imitation loss, in nats per response, of a policy whose share of a habit differs from the data's.

    min over pi with pi(A) = b of cross_entropy(p, pi) - entropy(p) = a log(a / b) + (1 - a) log((1 - a) / (1 - b))
    where p is the data, a = p(A) and A is the set of responses with the habit, such as naming a wrong country. It is
    the KL of a coin with probability a to one with b, reached when pi is proportional to p within A and outside of A.

    data_share, policy_share: a and b, from 0 to 1, any shape. Infinite if the data does what the policy never does.
    Raises InputError for other numbers and shapes that differ.
    Known value: 0 for equal shares; log 2 where the data always does what the policy does half the time.
    """
    check_same_shape(data_share=data_share, policy_share=policy_share)
    for name, share in (("data_share", data_share), ("policy_share", policy_share)):
        if not ((share >= 0) & (share <= 1)).all():  # written so that NaN fails
            raise InputError(f"{name} is {share}; expected numbers from 0 to 1")
    data, policy = (torch.stack((share, 1 - share), dim=-1).log() for share in (data_share, policy_share))
    return kl_divergence(data, policy)
