"""Picked log-probabilities chunk by chunk: values and gradients of the plain form, and no rounded logits."""

import math

import pytest
import torch
from tensors import seeded

from dpo_notes.maths import chunked_logps
from dpo_notes.maths.chunked_logps import chunked_picked_logps
from dpo_notes.maths.logps import picked_logps


@pytest.fixture(params=[(7, 2**31), (7, 0), (100, 2**31), (20, 0)], ids=["chunks kept", "chunks", "one kept", "one"])
def chunks(request, monkeypatch) -> None:
    """Chunks of 7 positions or one for all, with the probabilities kept or computed again."""
    monkeypatch.setattr(chunked_logps, "CHUNK", request.param[0])
    monkeypatch.setattr(chunked_logps, "KEPT", request.param[1])


@pytest.fixture
def problem() -> tuple[torch.Tensor, ...]:
    """20 states of 8 channels, some of them large; 50 words; the tokens picked; a weight for each log-probability."""
    generator = seeded()
    states, head = (torch.randn(n, 8, generator=generator, dtype=torch.float64) for n in (20, 50))
    states[::3] *= 100
    tokens = torch.randint(50, (20,), generator=generator)
    return states.requires_grad_(), head.requires_grad_(), tokens, torch.randn(20, generator=generator).double()


@pytest.mark.usefixtures("chunks")
def test_values_and_gradients_are_those_of_the_plain_form(problem):
    states, head, tokens, weights = problem
    ours = chunked_picked_logps(states, head, tokens, dtype=torch.float64)
    plain = picked_logps(states @ head.T, tokens)
    torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad((logps * weights).sum(), (states, head)) for logps in (ours, plain)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("chunks")
def test_a_second_backward_through_the_same_graph_gives_the_same_gradient(problem):
    states, head, tokens, weights = problem
    total = (chunked_picked_logps(states, head, tokens, dtype=torch.float64) * weights).sum()
    first, again = (torch.autograd.grad(total, (states, head), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)


@pytest.mark.usefixtures("chunks")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_only_the_factors_are_rounded(problem, dtype):
    """The logits of the rounded factors, exactly; gradients as near as probabilities of that precision allow."""
    states, head, tokens, weights = problem
    states, head = ((part / 10).float().detach().requires_grad_() for part in (states, head))
    ours = chunked_picked_logps(states, head, tokens, dtype=dtype)
    rounded = [part.to(dtype).double() for part in (states, head)]
    plain = picked_logps(rounded[0] @ rounded[1].T, tokens)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), plain, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad((logps * weights).sum(), (states, head)) for logps in (ours, plain)]
    for ours, theirs in zip(*gradients, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.01 * theirs.norm()


@pytest.mark.usefixtures("chunks")
def test_equal_logits_give_one_part_of_the_vocabulary():
    """Though it is filled up to 64 rows."""
    logps = chunked_picked_logps(torch.zeros(3, 4), torch.randn(50, 4), torch.tensor([0, 7, 49]), dtype=torch.bfloat16)
    torch.testing.assert_close(logps, torch.full((3,), -math.log(50)))


@pytest.mark.parametrize(("kept", "expected"), [(0, []), (2**31, [(7, 64), (7, 64), (6, 64)])])
def test_no_tensor_of_the_logits_size_is_saved_but_in_half_precision_and_within_the_limit(
    problem, monkeypatch, kept, expected
):
    monkeypatch.setattr(chunked_logps, "CHUNK", 7)
    monkeypatch.setattr(chunked_logps, "KEPT", kept)
    states, head, tokens, _ = problem
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        chunked_picked_logps(states.float(), head.float(), tokens, dtype=torch.bfloat16)
    large = [tensor for tensor in saved if tensor.shape[1:] == (64,)]
    assert [tuple(tensor.shape) for tensor in large] == expected
    assert all(tensor.dtype == torch.bfloat16 for tensor in large)
