"""Answers in which each word is praise or not: 2^words responses, and a Z in closed form.

Under the reference each word is praise with probability PRAISE_SHARE, independently, and praise earns PRAISE_REWARD.
The reward is a sum over words, so Z is a product: Z(words) = Z(one word)^words. Real rewards have no such form.
"""

import math

import torch

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.finite.world import FiniteWorld

PRAISE_SHARE, PRAISE_REWARD = 0.2, 0.5  # with 20 words the reward's standard deviation is 0.9
MOST_WORDS = 20  # a million responses


def every_answer(words: int) -> FiniteWorld:
    """The world with one response for each of the 2^words answers, in float64.

    words: 1 to 20. Errors: InputError for another number.
    Known value: one word has rewards 0 and 0.5 with reference probabilities 0.8 and 0.2.
    """
    if not 1 <= words <= MOST_WORDS:
        raise InputError(f"words is {words!r}; expected from 1 to {MOST_WORDS}: there are 2^words answers")
    answers = torch.arange(2**words)
    praise = sum((answers >> word) & 1 for word in range(words)).double()
    return FiniteWorld(PRAISE_REWARD * praise, _logp_of_one(praise, words))


def by_praise(words: int) -> FiniteWorld:
    """The same with all answers grouped by their number of words of praise: words + 1 responses.

    Reward and pi*/pi_ref depend on this number alone, so Z, J and the KL of an optimal policy are the same as for the
    2^words answers, and the sum is short for any number of words.

    words: at least 1. Errors: InputError for less. Known value: for one word the same as `every_answer`.
    """
    if words < 1:
        raise InputError(f"words is {words!r}; expected at least 1")
    praise = torch.arange(words + 1, dtype=torch.float64)
    log_ways = math.lgamma(words + 1) - torch.lgamma(praise + 1) - torch.lgamma(words - praise + 1)
    return FiniteWorld(PRAISE_REWARD * praise, log_ways + _logp_of_one(praise, words))


def _logp_of_one(praise: torch.Tensor, words: int) -> torch.Tensor:
    """Log-probability (nats) of one answer with this many words of praise."""
    return praise * math.log(PRAISE_SHARE) + (words - praise) * math.log(1 - PRAISE_SHARE)
