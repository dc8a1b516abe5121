"""The answers of notebook 02 by another route than the exercises' own."""

import math

import pytest
import torch

from dpo_notes.maths.best_of_n import best_of_n_policy
from dpo_notes.maths.filtering import filtering_rounds
from dpo_notes.teaching.checking import RIGHT, exercise, verdict
from dpo_notes.worlds.reviews.text_kinds import ANSWER_KINDS, answer_world

pytestmark = pytest.mark.notebooks


def chosen_by_counting(reward, ref_probs):
    """Every ordered pair of draws, and which one a rater takes."""
    chosen = torch.zeros_like(ref_probs)
    for i, p in enumerate(ref_probs):
        for j, q in enumerate(ref_probs):
            win = 1 / (1 + math.exp(reward[j] - reward[i]))
            chosen[i] += p * q * win
            chosen[j] += p * q * (1 - win)
    return chosen


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("02.1", next(n for n in range(2000) if 2 * (250 + n) >= 1000 + n)),
        ("02.2", 1 / (1 + math.exp(2))),
        ("02.2", 0.119),
        ("02.3", lambda a, b: a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b))),
        ("02.4", chosen_by_counting),
        ("02.5", [0.09, 0.0081]),
        ("02.7", math.ceil(math.log2(math.log(0.5) / math.log1p(-1e-6)))),
    ],
)
def test_the_answer_by_another_route_is_right(number, answer):
    assert verdict(exercise(number), answer) == RIGHT


def test_of_the_wrong_kinds_only_the_polite_one_gains_where_courtesy_is_worth_more():
    world = answer_world(right=2.0, courtesy=4.0)
    before, after = filtering_rounds(world.reward, world.ref_log_probs, rounds=1).exp()
    gaining = [tone for (tone, right), up in zip(ANSWER_KINDS, after > before, strict=True) if up and not right]
    assert gaining == [exercise("02.6").expected]


def test_twenty_rounds_and_no_fewer_lift_one_in_a_million_above_one_half():
    reward, probs = torch.tensor([1.0, 0.0]).double(), torch.tensor([1e-6, 1 - 1e-6]).double()
    lifted = [best_of_n_policy(reward, probs.log(), n=2**k)[0].exp().item() for k in (19, 20)]
    assert lifted[0] < 0.5 < lifted[1]
