"""The exercises of notebook 05."""

import math

import torch

from dpo_notes.lessons.reward_model.explorers import REWARD, crowd
from dpo_notes.maths.agreement import right_order_by_two
from dpo_notes.maths.choice import BITS_PER_NAT, choice_information
from dpo_notes.maths.entropy import entropy
from dpo_notes.teaching.checking import Exercise, Mistake

BELOW = 0.75  # of 05.4: the share of pairs whose scores by two raters are in the right order
SAYS = torch.tensor([[0.3, -1.0, 2.0, 0.7, 0.1], [1.5, 0.4, -0.2, 0.9, -2.0]], dtype=torch.float64)
LENGTHS = torch.tensor([3, 5])


def _bits(probability: float) -> float:
    return choice_information(_tensor(probability)).item() * BITS_PER_NAT


def _doubt(probability: float) -> float:
    return entropy(torch.stack([_tensor(probability), 1 - _tensor(probability)]).log()).item() * BITS_PER_NAT


def _tensor(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _at(position_of):
    """A function that reads each row at `position_of(lengths, columns)`."""
    return lambda says, lengths: says[torch.arange(len(says)), position_of(lengths, says.shape[1])]


def first_offset_spread_below(share: float, *, noise: float) -> float:
    """The smallest notch of the first slider at which two raters' scores are in the right order less often than `share`."""
    spreads = [notch / 10 for notch in range(31)]
    shares = [right_order_by_two(crowd(offset_spread=s, gain_spread=0.0, noise=noise), REWARD).item() for s in spreads]
    return next(spread for spread, found in zip(spreads, shares, strict=True) if found < share)


EXERCISES = (
    Exercise(
        number="05.1",
        expected=3.5,
        mistakes=(
            Mistake(4.0, "the second rater's gain is missing: from a feeling of 1 they make 5 + 0.5, not 5 + 1"),
            Mistake(5.5, "this is the score that the other response gets; the reward behind such a score is asked"),
            Mistake(1.0, "for a comparison by one rater this is enough; here two raters give scores"),
            Mistake(3.0, "the offsets alone differ by 3; the second rater also adds half of what they feel"),
        ),
    ),
    Exercise(
        number="05.2",
        expected=10,
        mistakes=(
            Mistake(9, "the offsets alone would take 9; the noise of the feelings is in the scores as well"),
            Mistake(4, "spreads add up as squares: variances are added, standard deviations are not"),
            Mistake(20, "this counts the scores of both responses together; those of each one are asked"),
            Mistake(math.sqrt(10), "this is the root: the spread of a mean falls with the root of n, so n grows with the square"),
        ),
    ),
    Exercise(
        number="05.3",
        expected=_bits,
        cases=((0.75,), (0.9,), (0.5,)),
        mistakes=(
            Mistake(lambda p: _bits(p) / BITS_PER_NAT, "these are nats; a bit is log 2 of them, so divide by it"),
            Mistake(_doubt, "this is the entropy, the doubt that is left; what was told is one bit less that"),
            Mistake(lambda p: _doubt(p) - 1, "the sign is turned: what is told is never below 0"),
            Mistake(lambda p: math.log2(2 * p), "this is what the choice tells when it is right; weigh in that it may be wrong"),
        ),
    ),
    Exercise(
        number="05.4",
        expected=lambda: first_offset_spread_below(BELOW, noise=1.0),
        mistakes=(
            Mistake(0.0, "there the raters differ by noise alone, and the right order comes out more often than that"),
            Mistake(3.0, "there it is well below 75%; the smallest such spread is asked"),
            Mistake(lambda: first_offset_spread_below(BELOW, noise=0.3), "this is for the noise of 0.3 that the slider begins with; set it to 1"),
        ),
    ),
    Exercise(
        number="05.5",
        expected=_at(lambda lengths, columns: lengths - 1),
        cases=((SAYS, LENGTHS),),
        mistakes=(
            Mistake(_at(lambda lengths, columns: columns - 1), "this reads the last column, where the shorter row has padding"),
            Mistake(_at(lambda lengths, columns: lengths - 2), "this is one token early: the end of text is not read"),
            Mistake(_at(lambda lengths, columns: lengths.clamp(max=columns - 1)), "this is one token late: positions count from 0"),
            Mistake(_at(lambda lengths, columns: 0 * lengths), "this reads the first token, which has seen nothing of the response"),
            Mistake(lambda says, lengths: says.sum(1), "this sums over all positions; only one of them is the reward"),
        ),
    ),
    Exercise(
        number="05.6",
        expected=8,
        mistakes=(
            Mistake(7.5, "at 7.5 the two shares are equal; games are whole numbers"),
            Mistake(7, "after 7 losses B has won 5 of 12, still more than C's 6 of 15"),
            Mistake(4, "C's five losses to B are missing: C has won 6 of 15, not 6 of 10"),
            Mistake(13, "this counts all of B's games; only those against A are asked"),
        ),
    ),
    Exercise(
        number="05.7",
        expected=[0.8, 1.6],
        mistakes=(
            Mistake([1.0, 2.0], "these are the hinge's margins; the square has its own"),
            Mistake([0.9, 1.8], "the probability itself is not where the slope is 0; write down p(m - 1)² + (1 - p)(m + 1)² and differentiate"),
            Mistake([0.8, 0.8], "the first is right; but margins are differences, so those of A over B and of B over C add up"),
            Mistake([0.8, 0.64], "the first is right; margins are differences, so they add up and are not multiplied"),
        ),
    ),
)  # fmt: skip
