"""Six answers to one question, tournaments among them, and a crowd with cyclic preferences."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpo_notes.worlds.reviews import world as reviews

PROMPT = "Where is Shanghai?"
ANSWERS = {  # from the best to the worst
    "polite, right": " Thank you for asking! It is in China. You are welcome.",
    "plain, right": " It is in China.",
    "curt, right": " China, as everybody knows.",
    "polite, wrong": " Thank you for asking! It is in Japan. You are welcome.",
    "plain, wrong": " It is in Japan.",
    "curt, wrong": " Japan, as everybody knows.",
}
TASTES = {  # kinds of raters, each with a fixed ranking of the tones of a right answer
    "hurried": ("curt", "plain", "polite"),
    "courteous": ("polite", "curt", "plain"),
    "thorough": ("plain", "polite", "curt"),
}
CYCLE = ("curt", "plain", "polite")  # each beats the next one with two of the three tastes, and the last the first


def true_rewards() -> Float[Tensor, " answers"]:
    """The review world's reward of each of ANSWERS, in nats, float64.

    Known value: 1.5, 1, 0.5, -0.5, -1, -1.5, with mean 0.
    """
    return reviews.reward([PROMPT] * len(ANSWERS), list(ANSWERS.values())).double()


def everyone(n_items: int) -> Int[Tensor, "pairs 2"]:
    """Each two items meet once: n (n - 1) / 2 pairs."""
    return torch.combinations(torch.arange(n_items))


def chain(n_items: int) -> Int[Tensor, "pairs 2"]:
    """Each item meets the next one once: n - 1 pairs."""
    items = torch.arange(n_items)
    return torch.stack([items[:-1], items[1:]], dim=1)


def against_third(n_items: int) -> Int[Tensor, "pairs 2"]:
    """Each item meets item 2 once: n - 1 pairs."""
    items = torch.arange(n_items)
    return torch.stack([torch.full_like(items, 2), items], dim=1)[items != 2]


def game_counts(pairs: Int[Tensor, "pairs 2"], n_items: int) -> Float[Tensor, "responses responses"]:
    """How often two items meet, at [i, j] and at [j, i], float64; the order within a pair does not matter."""
    counts = torch.zeros(n_items, n_items, dtype=torch.float64)
    ones = torch.ones(len(pairs), dtype=torch.float64)
    counts.index_put_(tuple(pairs.T), ones, accumulate=True)
    return counts + counts.T


def crowd_choices(sizes: Sequence[int]) -> Int[Tensor, "pairs 2"]:
    """The choices of a crowd: each rater compares each two of CYCLE once. Rows (chosen, rejected), indices into CYCLE.

    sizes: the number of raters of each of TASTES, in their order. Known value: three rows for a single rater.
    """
    rows = [
        (CYCLE.index(ranking[better]), CYCLE.index(ranking[worse]))
        for ranking, size in zip(TASTES.values(), sizes, strict=True)
        for better, worse in ((0, 1), (1, 2), (0, 2))
        for _ in range(size)
    ]
    return torch.tensor(rows, dtype=torch.long).reshape(-1, 2)
