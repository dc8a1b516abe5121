"""Kinds of texts in the review world: a review's mood, an answer's tone, right or wrong; and their shares."""

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.worlds.finite.world import FiniteWorld
from dpo_notes.worlds.reviews import grammar
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.words import COUNTRY_OF

TONES, MOODS = tuple(reviews.TONE_SHARES), tuple(reviews.MOOD_SHARES)
ANSWER_KINDS = tuple(product(TONES, (True, False)))  # tone, and whether the country is right


def manner_of(text: str) -> str | None:
    """The mood of a review ("happy", "unhappy", "mixed") or the tone of an answer ("curt", "plain", "polite").

    It comes from the grammar itself, so it is exact: for a document of the corpus it is that document's `manner` (a
    statement about a city counts as plain). `text` is prompt and response in one string; None if it is not grammatical.
    Known value: "curt" for "Where is Paris? In France."
    """
    if not reviews.is_grammatical(text):
        return None
    unbound = grammar.unbind(text)
    (manner,) = (manner for manner, pattern in _PATTERNS.items() if pattern.fullmatch(unbound))
    return manner


def names_right_country(text: str) -> bool | None:
    """Whether the first country named is that of the first city named; None unless the text names both.

    Defined for any text, grammatical or not. Known value: False for "Where is Paris? In Spain."
    """
    city, country = grammar.first_named("city", text), grammar.first_named("country", text)
    return None if city is None or country is None else COUNTRY_OF[city] == country


def text_shares(texts: Sequence[str], *, weights: Float[Tensor, " texts"] | None = None) -> dict[str, float]:
    """Share of each tone and mood among the texts, of "wrong" (a wrong country) and of "not grammatical", from 0 to 1.

    texts: prompt and response in one string each, at least one. weights: of each text, summing to 1; equal by default.
    The tones and moods with "not grammatical" sum to 1; "wrong" counts any text, grammatical or not.
    Known value: for 20,000 answers of the corpus about 0.35 curt, 0.4 plain, 0.25 polite, 0.2 wrong.
    """
    if weights is None:
        weights = torch.full((len(texts),), 1 / len(texts), dtype=torch.float64)
    shares = dict.fromkeys((*TONES, *MOODS, "wrong", "not grammatical"), 0.0)
    for text, weight in zip(texts, weights.tolist(), strict=True):
        shares[manner_of(text) or "not grammatical"] += weight
        shares["wrong"] += weight * (names_right_country(text) is False)
    return shares


def answer_world(*, right: float, courtesy: float) -> FiniteWorld:
    """The answers to one question about a city as a finite world of six kinds, ANSWER_KINDS, with the corpus shares.

    reward = right, if the country is right, + courtesy, if the tone is polite (nats; any finite numbers).
    Known value: the wrong kinds together have probability 0.2, the polite ones 0.25.
    """
    wrong = reviews.WRONG_SHARE
    probs = [reviews.TONE_SHARES[tone] * (1 - wrong if is_right else wrong) for tone, is_right in ANSWER_KINDS]
    rewards = [right * is_right + courtesy * (tone == "polite") for tone, is_right in ANSWER_KINDS]
    reward, ref_probs = torch.tensor([rewards, probs], dtype=torch.float64)
    return FiniteWorld(reward, ref_probs.log())


_PATTERNS = grammar.manner_patterns()
