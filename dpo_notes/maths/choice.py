"""How much one choice between two responses tells us."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.entropy import entropy
from dpo_notes.maths.errors import InputError

BITS_PER_NAT = 1 / math.log(2)


def choice_information(probability: Float[Tensor, "*pairs"]) -> Float[Tensor, "*pairs"]:
    """How much a rater's choice says about which of two responses is better, in nats, from 0 to log 2 (one bit).

    I = log 2 + p * log p + (1 - p) * log(1 - p)
    It is the mutual information of the choice and the better response, when each is the better one with prior
    probability 1/2: the capacity of a channel that flips a bit with probability 1 - p (Shannon 1948).

    probability: p, that the rater chooses the better one (1 - p gives the same). Raises InputError outside 0 to 1.
    Known value: 0 for p = 1/2, log 2 for p = 1; 0.19 bits for p = 3/4.
    """
    if not ((probability >= 0) & (probability <= 1)).all():
        raise InputError(f"probability is {probability.tolist()}; expected numbers from 0 to 1")
    return math.log(2) - entropy(torch.stack([probability, 1 - probability], dim=-1).log())
