"""The exercises of notebook 02: where imitation ends, what it costs to leave it, and what the chosen can teach."""

import math

import torch

from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.maths.filtering import chosen_policy
from dpo_notes.maths.imitation import price_of_share
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.teaching.checking import Exercise, Mistake, doubles
from dpo_notes.worlds.reviews.world import COUNTRY_VALUE


def _rater(gap: float) -> float:
    return preference_probability(doubles(gap), doubles(0.0)).item()


def _price(data_share: float, policy_share: float) -> float:
    return price_of_share(doubles(data_share), doubles(policy_share)).item()


def _chosen(reward: torch.Tensor, ref_probs: torch.Tensor) -> torch.Tensor:
    return chosen_policy(reward, ref_probs.log()).exp()


def _tilted_by_own_reward(reward: torch.Tensor, ref_probs: torch.Tensor) -> torch.Tensor:
    weights = ref_probs * torch.sigmoid(reward)
    return weights / weights.sum()


GAP = 2 * COUNTRY_VALUE  # between the right country and a wrong one
SQUARED = [0.3**2, 0.3**4]
WORLDS = ((doubles(2.0, 0.0, 0.0), doubles(0.2, 0.3, 0.5)), (doubles(-1.0, 0.5, 3.0, 0.0), doubles(0.4, 0.1, 0.2, 0.3)))

EXERCISES = (
    Exercise(
        number="02.1",
        expected=500,
        mistakes=(
            Mistake(
                250, "250 more make 500 polite answers, but then there are 1250 answers: the new ones count below, too"
            ),
            Mistake(1000, "1250 of 2000 answers are then polite, which is more than half: count both sides once more"),
            Mistake(750, "that many are plain or curt now; some polite ones are there to meet them already"),
        ),
    ),
    Exercise(
        number="02.2",
        expected=_rater(-GAP),
        tolerance=1e-3,
        mistakes=(
            Mistake(
                _rater(GAP), "this is how often the rater prefers the right one; the question asks for the other choice"
            ),
            Mistake(_rater(-COUNTRY_VALUE), "from +1 to -1 it is 2 nats, not 1"),
            Mistake(math.exp(-GAP), "these are the odds, wrong against right; the probability is odds / (1 + odds)"),
            Mistake(0.0, "a Bradley-Terry rater wavers: every probability is above 0"),
        ),
    ),
    Exercise(
        number="02.3",
        expected=_price,
        cases=((0.2, 0.02), (0.5, 0.1), (0.1, 0.3)),
        mistakes=(
            Mistake(
                lambda a, b: _price(b, a),
                "this is KL(policy || data); imitation averages over the data: the shares change places",
            ),
            Mistake(
                lambda a, b: a * math.log(a / b),
                "this is the part of the wrong answers; the right ones get likelier, and that part is missing",
            ),
            Mistake(lambda a, b: _price(a, b) / math.log(2), "these are bits; nats need the natural logarithm"),
            Mistake(
                lambda a, b: -a * math.log(b) - (1 - a) * math.log(1 - b),
                "this is the whole cross-entropy of the two coins; its smallest value, the entropy of the data, is to be taken off",
            ),
        ),
    ),
    Exercise(
        number="02.4",
        expected=_chosen,
        cases=WORLDS,
        mistakes=(
            Mistake(lambda r, p: _chosen(r, p) / 2, "this sums to 1/2: either of the two draws may be the chosen one"),
            Mistake(lambda r, p: _chosen(-r, p), "this is where the rejected ones go: mind the sign of the difference"),
            Mistake(
                _tilted_by_own_reward,
                "here every response is compared with a reward of 0; average over the opponents instead",
            ),
            Mistake(
                lambda r, p: optimal_policy(r, p.log(), beta=1.0).exp(),
                "this is pi_ref exp(r) / Z, which can grow without limit: a policy of notebook 07, not the chosen of one comparison",
            ),
        ),
    ),
    Exercise(
        number="02.5",
        expected=SQUARED,
        mistakes=(
            Mistake([0.3 / 2, 0.3 / 4], "it does not halve: a wrong one is kept only where both are wrong"),
            Mistake(
                [0.3**2, 0.3**3],
                "the second round compares answers of the new policy, of which 0.09 are wrong: square that",
            ),
            Mistake(
                [1 - 0.7**2, 1 - 0.7**4],
                "this is the chance of at least one wrong answer among the draws; all of them must be",
            ),
            Mistake([0.3**2, 0.3**2], "the second round starts from what the first one left"),
        ),
    ),
    Exercise(
        number="02.6",
        expected="polite",
        mistakes=(
            Mistake("curt", "its bar is lower than before: curt and wrong loses to almost everything"),
            Mistake(
                "plain",
                "its bar is lower than before: plain and wrong has neither of the two things that these raters like",
            ),
        ),
    ),
    Exercise(
        number="02.7",
        expected=20,
        mistakes=(
            Mistake(
                19,
                "2^19 is enough by the ceiling, but the factor is 2 - pi(y), which is well below 2 as pi(y) nears one half",
            ),
            Mistake(18, "even doubled 18 times it is 0.26"),
            Mistake(500_000, "each round multiplies: it takes powers of two, not half a million steps"),
        ),
    ),
)
