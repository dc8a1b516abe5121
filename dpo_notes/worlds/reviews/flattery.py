"""A world where the reward is only a proxy: answers to one question, one of which flatters the raters and says little.

The proxy is the raters' reward of the review world, which counts words. The true reward also requires a text that the
grammar can write, because a reader rejects the flattery. Both are known here, so you can watch them diverge.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.worlds.finite.world import FiniteWorld
from dpo_notes.worlds.reviews import world as reviews

PROMPT = "Where is Paris?"
FLATTERY = " France! Superb, perfect, brilliant, superb France!"
ANSWERS = {  # what the reference says, and how often
    " In France.": 0.30,
    " Paris is a city in France.": 0.27,
    " In Spain.": 0.16,
    " France, obviously.": 0.15,
    " I am glad to help. It is in France. Enjoy your trip!": 0.10,
    FLATTERY: 0.02,
}
SPOILT = -1.0  # the true reward of a text that no reader would accept


def proxy_world() -> FiniteWorld:
    """The answers with the raters' reward of each, and the reference's probabilities, in float64."""
    ref_probs = torch.tensor(list(ANSWERS.values()), dtype=torch.float64)
    return FiniteWorld(reviews.reward([PROMPT] * len(ANSWERS), list(ANSWERS)), ref_probs.log())


def true_reward() -> Float[Tensor, " responses"]:
    """The value of each answer to a reader: the raters' reward if it is grammatical, else SPOILT."""
    grammatical = torch.tensor([reviews.is_grammatical(PROMPT + answer) for answer in ANSWERS])
    return torch.where(grammatical, proxy_world().reward, SPOILT)
