"""The exercises of notebook 01: chains of probabilities, and the distribution that is really sampled."""

import math
from collections.abc import Callable

import torch

from dpo_notes.language.generate import next_token_probs
from dpo_notes.lessons.language_models.explorers import SHAPES, WORDS
from dpo_notes.maths.entropy import perplexity
from dpo_notes.teaching.checking import Exercise, Mistake, doubles
from dpo_notes.worlds.reviews.words import COUNTRIES
from dpo_notes.worlds.reviews.world import WRONG_SHARE


def _cut(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    return next_token_probs(probs.log()[None], top_p=top_p)[0]


def _kept(probs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return probs * mask / (probs * mask).sum()


def _one_too_few(probs: torch.Tensor, top_p: float) -> torch.Tensor:
    ordered, order = probs.sort(descending=True)
    return _kept(probs, torch.zeros_like(probs).scatter(0, order, (ordered.cumsum(0) <= top_p).double()))


def _words_left(top_p: float) -> list[int]:
    return [int((_cut(doubles(*shape) / sum(shape), top_p) > 0).sum()) for shape in SHAPES.values()]


def _wrong_share(weight: Callable[[float], float]) -> float:
    """The share of wrong countries, where each country's share in the corpus is reweighted."""
    wrong = len(COUNTRIES["Asia"]) - 1
    mass = wrong * weight(WRONG_SHARE / wrong)
    return mass / (weight(1 - WRONG_SHARE) + mass)


def _of_sentences(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    weights = (first[:, None] * second) ** (1 / temperature)
    return weights / weights.sum()


def _of_tokens(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    starts = next_token_probs(first.log()[None], temperature=temperature)[0]
    return starts[:, None] * next_token_probs(second.log(), temperature=temperature)


ANSWER = (1 / 2, 4 / 5, 1 / 4)  # of 01.1
BELIEF, CAME = (0.6, 0.3, 0.1), 1  # of 01.2
LEVEL = 0.7  # of 01.4
CUTS = ((doubles(0.1, 0.4, 0.2, 0.3), 0.5), (doubles(0.05, 0.15, 0.5, 0.1, 0.2), 0.9), (doubles(0.25, 0.6, 0.15), 0.7))
LANGUAGES = (
    (doubles(0.6, 0.4), torch.stack([doubles(0.5, 0.5), doubles(0.9, 0.1)]), 0.5),
    (doubles(0.2, 0.3, 0.5), torch.stack([doubles(0.7, 0.3), doubles(0.2, 0.8), doubles(0.5, 0.5)]), 2.0),
)

EXERCISES = (
    Exercise(
        number="01.1",
        expected=sum(map(math.log, ANSWER)),
        tolerance=1e-3,
        mistakes=(
            Mistake(math.prod(ANSWER), "this is the probability of the answer; its natural logarithm is asked for"),
            Mistake(-sum(map(math.log, ANSWER)), "a log-probability is never above 0: this is the surprise, −log π"),
            Mistake(sum(map(math.log, ANSWER)) / 3, "this is the mean over the tokens; the sum is needed"),
            Mistake(math.log10(math.prod(ANSWER)), "this is the logarithm to base 10; nats take base e"),
            Mistake(math.log2(math.prod(ANSWER)), "this is in bits, the logarithm to base 2; nats take base e"),
            Mistake(math.log(sum(ANSWER)), "probabilities of one token after another are multiplied, not added"),
        ),
    ),
    Exercise(
        number="01.2",
        expected=[belief - (place == CAME) for place, belief in enumerate(BELIEF)],
        tolerance=1e-3,
        mistakes=(
            Mistake(
                [(place == CAME) - belief for place, belief in enumerate(BELIEF)],
                "the sign is turned: this is the direction of descent, the gradient points uphill",
            ),
            Mistake(
                [-(place == CAME) / belief for place, belief in enumerate(BELIEF)],
                "this is the derivative with respect to the probabilities; the scores are asked for, and one score "
                "moves all probabilities",
            ),
            Mistake(list(BELIEF), "this is π alone; the token that came has 1 subtracted"),
        ),
    ),
    Exercise(
        number="01.3",
        expected=perplexity,
        cases=((doubles(-0.5, -1.0, -3.0),), (doubles(*[-math.log(7)] * 4, -0.1),)),
        mistakes=(
            Mistake(lambda logps: (-logps.sum()).exp(), "this grows with the length; take the mean over tokens first"),
            Mistake(lambda logps: logps.mean().exp(), "this is the inverse; the sign of the mean is to be turned"),
            Mistake(
                lambda logps: (-logps).exp().mean(),
                "this is the mean of 1/π; the mean is taken of the logarithms, before the exponential",
            ),
            Mistake(lambda logps: 2 ** (-logps.mean()), "logps are in nats: base e takes them back, not base 2"),
        ),
    ),
    Exercise(
        number="01.4",
        expected=_words_left(LEVEL),
        mistakes=(
            Mistake(
                [left - 1 for left in _words_left(LEVEL)],
                "one too few: the word with which the sum reaches the level stays too",
            ),
            Mistake([WORDS - left for left in _words_left(LEVEL)], "these are the words that are cut"),
            Mistake(_words_left(LEVEL)[::-1], "the order is turned: sure, steep, almost flat"),
        ),
    ),
    Exercise(
        number="01.5",
        expected=_wrong_share(lambda share: share**2),
        tolerance=5e-5,
        mistakes=(
            Mistake(WRONG_SHARE, "that is the share at temperature 1; at 1/2 every probability is squared first"),
            Mistake(
                WRONG_SHARE**2 / (WRONG_SHARE**2 + (1 - WRONG_SHARE) ** 2),
                "you squared the wrong answers' sum; it is each wrong country that is squared, 1/60 by 1/60",
            ),
            Mistake(_wrong_share(math.sqrt), "this is temperature 2: the exponent is 1/T, here 2"),
            Mistake(12 * (WRONG_SHARE / 12) ** 2, "squares do not sum to 1: divide by their sum"),
        ),
    ),
    Exercise(
        number="01.6",
        expected=_cut,
        cases=CUTS,
        mistakes=(
            Mistake(_one_too_few, "the token that carries the sum over the level belongs to the set; you left it out"),
            Mistake(
                lambda probs, top_p: probs * (_cut(probs, top_p) > 0),
                "the right tokens are left, but they do not sum to 1: divide by their sum",
            ),
            Mistake(
                lambda probs, top_p: _cut(probs, top_p).sort(descending=True)[0],
                "the right numbers in sorted order: every token needs its own probability back in its own place",
            ),
            Mistake(
                lambda probs, top_p: _kept(probs, (probs.cumsum(0) - probs < top_p).double()),
                "you went through the tokens as they lie; the likeliest come first",
            ),
        ),
    ),
    Exercise(
        number="01.7",
        expected=_of_sentences,
        cases=LANGUAGES,
        mistakes=(
            Mistake(
                _of_tokens, "this is temperature on each token, as generation does it; here whole sentences are meant"
            ),
            Mistake(
                lambda first, second, temperature: (first[:, None] * second) ** (1 / temperature),
                "these do not sum to 1: divide by the sum over all sentences",
            ),
            Mistake(
                lambda first, second, temperature: _of_sentences(first, second, 1 / temperature),
                "the exponent is 1/T, not T",
            ),
            Mistake(
                lambda first, second, temperature: first[:, None] * second,
                "this is temperature 1: raise each sentence's probability to 1/T first",
            ),
        ),
    ),
)
