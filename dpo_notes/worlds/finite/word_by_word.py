"""Answers of so many words, each of which is praise or not: 2^words responses, and a Z that can be written down.

Under the reference each word is praise with probability SHARE, whatever the others are, and earns WORTH. The reward is a
sum over words, so that Z is a product over words: Z(words) = Z(one word)^words. No such luck outside toys.
"""

import math

import torch

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.finite.world import FiniteWorld

SHARE, WORTH = 0.2, 0.5  # with 20 words the reward's standard deviation is 0.9
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
    return FiniteWorld(WORTH * praise, _logp_of_one(praise, words))


def by_praise(words: int) -> FiniteWorld:
    """The same with all answers that have as many words of praise put together: words + 1 responses.

    Reward and pi*/pi_ref depend on this number alone, so Z, J and every KL of an optimal policy are the same as among the
    2^words answers; and the sum is short enough for any number of words.

    words: at least 1. Errors: InputError for less. Known value: one word as in `every_answer`.
    """
    if words < 1:
        raise InputError(f"words is {words!r}; expected at least 1")
    praise = torch.arange(words + 1, dtype=torch.float64)
    log_ways = math.lgamma(words + 1) - torch.lgamma(praise + 1) - torch.lgamma(words - praise + 1)
    return FiniteWorld(WORTH * praise, log_ways + _logp_of_one(praise, words))


def _logp_of_one(praise: torch.Tensor, words: int) -> torch.Tensor:
    """Log-probability (nats) of one answer with so many words of praise."""
    return praise * math.log(SHARE) + (words - praise) * math.log(1 - SHARE)
