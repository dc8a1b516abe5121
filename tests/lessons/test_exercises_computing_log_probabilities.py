"""The expected answers of notebook 09 computed in a second way; test_exercises.py tests their mistakes."""

import math

import pytest
import torch

from dpo_notes.lessons.computing_log_probabilities.one_row import one_row
from dpo_notes.maths.logps import sequence_logps, token_logps
from dpo_notes.teaching.checking import exercise
from dpo_notes.worlds.finite.per_token import loss_on_means
from dpo_notes.worlds.finite.world import FiniteWorld, minimise

pytestmark = pytest.mark.notebooks


def test_the_table_by_hand_is_what_the_package_makes_of_it():
    probabilities = [[0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.6, 0.3, 0.1]]
    ids, mask = torch.tensor([[0, 1, 1, 0, 2]]), torch.tensor([[False, False, True, True, True]])
    logps = token_logps(torch.tensor(probabilities).log()[None], ids)
    assert math.isclose(sequence_logps(logps, mask), exercise("09.1").expected, rel_tol=1e-4)


def test_the_loss_of_the_batch_is_that_of_its_tokens():
    """4 tokens of -0.8 nats and 12 of -0.4 are 16 of -0.5 on average, as (3.2 + 4.8) / 16."""
    logps = torch.tensor([-0.8] * 4 + [exercise("09.2").expected / 12] * 12)
    assert math.isclose(-logps.mean(), 0.5, rel_tol=1e-6)


def test_labels_give_what_cross_entropy_gives():
    ((logits, labels),) = exercise("09.3").cases
    theirs = torch.nn.functional.cross_entropy(logits[:, :-1].mT, labels[:, 1:], reduction="none").sum(dim=1)
    torch.testing.assert_close(exercise("09.3").expected(logits, labels), -theirs)


def test_the_one_row_is_the_packages():
    row = one_row([1, 2, 3], [4, 0], [5, 6, 7, 0])
    assert exercise("09.4").expected == [row.position_ids[0].tolist(), row.before.tolist()]


def test_the_long_response_is_where_descent_on_means_ends():
    world = FiniteWorld(torch.tensor([0.0, math.log(3)], dtype=torch.float64), torch.full((2,), 0.5).double().log())
    tokens = torch.tensor([2.0, 6.0], dtype=torch.float64)
    descended = minimise(lambda t: loss_on_means(world, t.log_softmax(0), tokens, beta=1.0), world.ref_log_probs)
    assert math.isclose(descended.softmax(0)[1], exercise("09.5").expected(), rel_tol=1e-5)
