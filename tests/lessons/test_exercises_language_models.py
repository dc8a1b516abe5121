"""The answers of notebook 01 by another route than the exercises' own."""

import math
from itertools import product

import pytest
import torch

from dpo_notes.teaching.checking import RIGHT, exercise, verdict

pytestmark = pytest.mark.notebooks


def smallest_set(probs, top_p):
    """All subsets: of those that are enough the smallest, and of these the heaviest."""
    sets = torch.tensor(list(product([0.0, 1.0], repeat=len(probs))), dtype=probs.dtype)
    mass = sets @ probs
    best = min((s.sum().item(), -m.item(), i) for i, (s, m) in enumerate(zip(sets, mass, strict=True)) if m >= top_p)[2]
    return probs * sets[best] / mass[best]


def sentence_by_sentence(first, second, temperature):
    weights = [[(first[a] * second[a, b]).item() ** (1 / temperature) for b in range(2)] for a in range(len(first))]
    total = sum(map(sum, weights))
    return torch.tensor([[weight / total for weight in row] for row in weights])


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("01.1", -2.3026),
        ("01.2", [0.6, -0.7, 0.1]),
        ("01.3", lambda logps: math.prod(math.exp(-x) for x in logps.tolist()) ** (1 / len(logps))),
        ("01.4", [1, 2, 9]),
        ("01.5", 0.00518),
        ("01.6", smallest_set),
        ("01.7", sentence_by_sentence),
    ],
)
def test_the_answer_by_another_route_is_right(number, answer):
    assert verdict(exercise(number), answer) == RIGHT


def test_raw_counts_of_a_wrong_route_are_named():
    assert "squared the wrong answers' sum" in verdict(exercise("01.5"), 0.0588)
    assert "you left it out" in verdict(exercise("01.6"), lambda p, level: _one_too_few(p, level))


def _one_too_few(probs, top_p):
    kept, total = torch.zeros_like(probs), 0.0
    for place in probs.argsort(descending=True):
        total += probs[place]
        if total <= top_p:
            kept[place] = probs[place]
    return kept / kept.sum()
