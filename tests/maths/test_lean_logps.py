"""The lean form of picked log-probabilities: values and gradients of the plain one, once and again."""

import math

import pytest
import torch
from tensors import seeded
from torch import Tensor

from dpo_notes.maths.lean_logps import lean_picked_logps
from dpo_notes.maths.logps import picked_logps


@pytest.fixture
def problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """20 states of 8 channels, some of them large; 50 words; the tokens picked; a weight for each log-probability."""
    generator = seeded()
    states, head = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (20, 50))
    states[::3] *= 100
    tokens = torch.randint(50, (20,), generator=generator)
    return states.requires_grad_(), head.requires_grad_(), tokens, torch.randn(20, generator=generator).double()


def test_values_and_gradients_are_those_of_the_plain_form(problem):
    states, head, tokens, weights = problem
    lean, plain = lean_picked_logps(states, head, tokens), picked_logps(states @ head.T, tokens)
    torch.testing.assert_close(lean, plain, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad((logps * weights).sum(), (states, head)) for logps in (lean, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_small_changes(problem):
    states, head, tokens, _ = problem
    small = (states / 100).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, h: lean_picked_logps(s, h, tokens), (small, head))


def test_a_second_backward_through_the_same_graph_gives_the_same_gradient(problem):
    """Though the first one overwrote what it had kept."""
    states, head, tokens, weights = problem
    total = (lean_picked_logps(states, head, tokens) * weights).sum()
    first, again = (torch.autograd.grad(total, (states, head), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_equal_logits_give_one_part_of_the_vocabulary():
    logps = lean_picked_logps(torch.zeros(3, 4), torch.randn(50, 4), torch.tensor([0, 7, 49]))
    torch.testing.assert_close(logps, torch.full((3,), -math.log(50)))


def test_autograd_saves_no_tensor_of_the_logits_size(problem):
    """The only one is kept outside of what autograd saves, to be overwritten; the plain form saves its logits."""
    states, head, tokens, _ = problem

    def kept(way) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            way()
        return sum(size == 20 * 50 for size in sizes)

    assert kept(lambda: lean_picked_logps(states, head, tokens)) == 0
    assert kept(lambda: picked_logps(states @ head.T, tokens)) >= 1
