"""Log-probabilities of picked tokens from hidden states, with one tensor of the logits' size instead of several."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


def lean_picked_logps(
    states: Float[Tensor, "tokens channels"], head: Float[Tensor, "vocab channels"], tokens: Int[Tensor, " tokens"]
) -> Float[Tensor, " tokens"]:
    """Log-probability of one picked token for each hidden state, in nats, as in the plain form but in less memory.

    Plain: picked_logps(states @ head.T, tokens). With GPT-2's 50,257 words the logits are by far the largest tensor of
    a step, and autograd makes several of this size, each written to memory and read again. Here there is only one:
    the logits become their exponentials in place, and these become the gradient of the logits in the backward pass:

    d logp / d logits[v] = 1[v = token] - softmax(logits)[v]    (equation 01.12 of the notebooks, with the sign of logp)

    states: the input of the output head. head: its weights, one row per word, no bias. Both float32 or float64.
    tokens: from 0 to vocab - 1. Only first derivatives are supported.
    Known value: -log(vocab) where all states are 0.
    """
    return _LeanPickedLogps.apply(states, head, tokens)


class _LeanPickedLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor, head: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(states, head, tokens)
        logps, ctx.kept = lean_forward(states, head, tokens)
        return logps

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        kept, ctx.kept = ctx.kept, None  # it is overwritten
        if kept is None:  # a second backward through a graph that was kept
            _, kept = lean_forward(*ctx.saved_tensors)
        return *lean_backward(grad, kept, *ctx.saved_tensors), None


def lean_forward(states: Tensor, head: Tensor, tokens: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """(log-probabilities, (exp(logits - their maximum), sums of these)); arguments as in `lean_picked_logps`."""
    logits = states @ head.T
    picked = logits.gather(1, tokens[:, None]).squeeze(1)
    top = logits.amax(dim=1)
    exponentials = logits.sub_(top[:, None]).exp_()
    total = exponentials.sum(dim=1)
    return picked - top - total.log(), (exponentials, total)


def lean_backward(
    grad: Tensor, kept: tuple[Tensor, Tensor], states: Tensor, head: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of states and head. `kept` comes from `lean_forward`, and is overwritten."""
    exponentials, total = kept
    of_logits = exponentials.mul_((-grad / total)[:, None])
    of_logits[torch.arange(len(tokens), device=tokens.device), tokens] += grad
    return of_logits @ head, of_logits.T @ states
