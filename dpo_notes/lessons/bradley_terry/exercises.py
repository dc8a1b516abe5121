"""The exercises of notebook 06: losses and slopes by hand, Elo, error bars, and what one line cannot hold."""

import math

import torch

from dpo_notes.maths.bradley_terry import elo_from_reward, preference_nll, preference_probability
from dpo_notes.maths.entropy import entropy
from dpo_notes.teaching.checking import Exercise, Mistake


def _loss(margin: float) -> float:
    return preference_nll(*torch.tensor([margin, 0.0], dtype=torch.float64)).item()


def _chance(margin: float) -> float:
    return preference_probability(*torch.tensor([margin, 0.0], dtype=torch.float64)).item()


def _coin(p: float) -> float:
    return entropy(torch.tensor([p, 1 - p], dtype=torch.float64).log()).item()


def losses(margins: torch.Tensor) -> torch.Tensor:
    """The loss of each margin, in nats."""
    return preference_nll(margins, torch.zeros_like(margins))


LEAD = 150 / elo_from_reward(torch.tensor(1.0, dtype=torch.float64)).item()  # of the first chatbot, in nats
CIRCLE = [math.log(2), _coin(0.8), (math.log(2) + _coin(0.8)) / 2]
MARGINS = torch.tensor([-1000.0, -95.0, -2.0, 0.0, 0.5, 3.0, 1000.0])
BITS = 1 / math.log(2)

EXERCISES = (
    Exercise(
        number="06.1",
        expected=_loss(1.1),
        tolerance=1e-3,
        mistakes=(
            Mistake(_loss(0.3), "this is the loss at margin 0.3: the rewards were added; the margin is 0.7 - (-0.4)"),
            Mistake(_loss(-1.1), "the sign is turned: this is the loss had the other response been chosen"),
            Mistake(_chance(1.1), "this is the probability of the choice; the loss is minus its logarithm"),
            Mistake(_loss(1.1) / math.log(10), "this is the logarithm to base 10; nats need the natural one"),
            Mistake(-_loss(1.1), "this is the log-probability of the choice; the loss is minus that, and never below 0"),
            Mistake(_loss(0.7), "the rejected response is left out; a reward alone says nothing"),
        ),
    ),
    Exercise(
        number="06.2",
        expected=[LEAD, _chance(LEAD)],
        tolerance=2e-3,
        mistakes=(
            Mistake([150 / 400, _chance(150 / 400)], "400 points are odds of 10 to 1, not of e to 1: the factor ln 10 is "
                    "missing"),
            Mistake([150 / 400 / math.log(10), _chance(150 / 400 / math.log(10))], "the factor ln 10 is on the wrong side: "
                    "a point is ln(10) / 400 nats"),
            Mistake([LEAD, _chance(-LEAD)], "the nats are right; the probability is that of the second chatbot"),
            Mistake([LEAD, math.exp(LEAD)], "the nats are right; these are the odds, and the probability is "
                    "odds / (1 + odds)"),
            Mistake([2350 * LEAD / 150, _chance(2350 * LEAD / 150)], "the ratings were added; only their difference means "
                    "something"),
        ),
    ),
    Exercise(
        number="06.3",
        expected=[-_chance(2.0), _chance(2.0)],
        tolerance=2e-3,
        mistakes=(
            Mistake([-_chance(-2.0), _chance(-2.0)], "this is the probability that the model gave to the choice that was "
                    "made; the slope is that of the other one: it was very wrong, and pulls hard"),
            Mistake([_chance(2.0), -_chance(2.0)], "the signs are turned: raising the chosen reward lowers the loss"),
            Mistake([-_chance(2.0), -_chance(2.0)], "the rejected reward enters the margin with a minus, so its slope has "
                    "the other sign"),
            Mistake([-_chance(2.0) * _chance(-2.0), _chance(2.0) * _chance(-2.0)], "this has the size of the second "
                    "derivative, sigma(m) sigma(-m)"),
        ),
    ),
    Exercise(
        number="06.4",
        expected=[math.log(3), 1 / math.sqrt(40 * 0.75 * 0.25)],
        tolerance=2e-3,
        mistakes=(
            Mistake([math.log(3), math.sqrt(0.75 * 0.25 / 40)], "the margin is right; this is the error of the "
                    "probability. That of the log-odds is 1 / sqrt(n p (1 - p))"),
            Mistake([math.log(3), 2 / math.sqrt(40)], "the margin is right; 2 / sqrt(n) is the error at p = 1/2, the least "
                    "possible"),
            Mistake([math.log(3), 1 / (40 * 0.75 * 0.25)], "the margin is right; this is the variance: take its root"),
            Mistake([math.log(0.75), 1 / math.sqrt(40 * 0.75 * 0.25)], "this is the logarithm of 30/40; the margin is that "
                    "of the odds, 30 to 10"),
            Mistake([math.log10(3), 1 / math.sqrt(40 * 0.75 * 0.25)], "this margin has the logarithm to base 10; nats "
                    "need the natural one"),
        ),
    ),
    Exercise(
        number="06.5",
        expected=losses,
        cases=((MARGINS,),),
        tolerance=1e-5,
        mistakes=(
            Mistake(lambda margins: -torch.log(torch.sigmoid(margins)), "this is infinite at -1000: the sigmoid has become "
                    "0 before its logarithm is taken"),
            Mistake(lambda margins: losses(-margins), "the sign is turned: this punishes the margins that are right"),
            Mistake(lambda margins: (-margins).clamp(min=0), "this is the straight line alone; log(1 + exp(-|m|)) is missing, "
                    "which is log 2 at margin 0"),
            Mistake(lambda margins: (-margins).clamp(min=0) + torch.log1p(torch.exp(margins.abs())), "the exponent has the "
                    "wrong sign: exp(-|m|) is at most 1, exp(|m|) overflows"),
            Mistake(lambda margins: torch.log1p(torch.exp(-margins.abs())), "this is the same for m and -m: the term "
                    "max(-m, 0) is missing"),
        ),
    ),
    Exercise(
        number="06.6",
        expected=[math.sqrt(0.08), 50],
        tolerance=3e-3,
        mistakes=(
            Mistake([0.4, 25], "the errors themselves were added; their squares add"),
            Mistake([0.2, 100], "this is the error of one of the two steps; the way from A to C takes both"),
            Mistake([math.sqrt(0.02), 200], "this is two ways side by side; here they are one behind the other, and the "
                    "error grows"),
            Mistake([math.sqrt(0.08), 200], "the error is right; being worse than either step, it is worth fewer than a "
                    "hundred direct comparisons"),
        ),
    ),
    Exercise(
        number="06.7",
        expected=[960, 1920],
        mistakes=(
            Mistake([1920, 960], "the two are exchanged: the chain needs more"),
            Mistake([480, 960], "there the errors are still above 0.25"),
            Mistake([1920, 3840], "one notch before, the errors are below 0.25 already"),
            Mistake([64, 384], "these are comparisons of each two that meet; comparisons in all are asked for"),
        ),
    ),
    Exercise(
        number="06.8",
        expected=CIRCLE,
        tolerance=2e-3,
        mistakes=(
            Mistake([_coin(0.8)] * 3, "the first asks more of three rewards than they can say: round a circle the margins "
                    "add up to 0"),
            Mistake([math.log(2), -math.log(0.8), (math.log(2) - math.log(0.8)) / 2], "this is the loss where the likely "
                    "thing happens; one time in five the other does, and costs -log 0.2"),
            Mistake([math.log(2), _coin(0.8), math.log(2)], "the fourth does fit on the line, above the three: its pairs "
                    "need not cost log 2"),
            Mistake([math.log(2), _coin(0.8), _coin(0.8)], "the pairs of the fourth cost this, those of the circle "
                    "still log 2"),
            Mistake([value * BITS for value in CIRCLE], "these are bits; nats need the natural logarithm"),
        ),
    ),
)  # fmt: skip
