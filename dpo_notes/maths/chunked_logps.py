"""Log-probabilities of picked tokens in half precision, a chunk of positions at a time, without rounded logits."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK = 2048  # positions: 400 MB of GPT-2's logits in float32
KEPT = 2**31  # bytes of probabilities that we keep for the backward pass; beyond that they are computed again
COLUMNS = 64  # the vocabulary is padded to a multiple: matrix units want aligned rows


def chunked_picked_logps(
    states: Float[Tensor, "tokens channels"],
    head: Float[Tensor, "vocab channels"],
    tokens: Int[Tensor, " tokens"],
    *,
    dtype: torch.dtype,
) -> Float[Tensor, " tokens"]:
    """Log-probability of one picked token for each hidden state, in nats: as the plain form, in little memory.

    Plain: picked_logps(states.to(dtype) @ head.to(dtype).T, tokens). Here the products of `dtype` are summed in float32,
    and the sums are not rounded to `dtype` again. That matters: GPT-2's logits lie near -70, where bfloat16 has steps
    of half a nat, and rounding them would drown the log-ratio of two similar policies in noise.

    states: the input of the output head. head: its weights, one row per word, no bias. dtype: of the factors, bfloat16,
    float16, or that of the states. The result is float32, or float64 for that. Only first derivatives are supported.
    Known value: -log(vocab) where all states are 0.
    """
    return _Chunked.apply(states, head, tokens, dtype)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, states: Tensor, head: Tensor, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        rounded, weights = states.to(dtype), _aligned(head.to(dtype))
        keep = any(ctx.needs_input_grad) and len(states) * len(weights) * dtype.itemsize <= KEPT
        logps, log_totals, probabilities = [], [], []
        for part, picked in zip(rounded.split(CHUNK), tokens.split(CHUNK), strict=True):
            logits = _logits(part, weights, len(head))
            log_total = logits.logsumexp(dim=1)
            logps.append(logits.gather(1, picked[:, None]).squeeze(1) - log_total)
            log_totals.append(log_total)
            if keep:
                probabilities.append(_probabilities(logits, log_total).to(dtype))
        ctx.save_for_backward(states, head, tokens, rounded, weights, *log_totals, *probabilities)
        return torch.cat(logps)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        states, head, tokens, rounded, weights, *kept = ctx.saved_tensors
        parts = rounded.split(CHUNK)
        log_totals, probabilities = kept[: len(parts)], kept[len(parts) :]
        d_states, d_head = [], torch.zeros(weights.shape, dtype=grad.dtype, device=grad.device)
        for number, (part, picked, its) in enumerate(
            zip(parts, tokens.split(CHUNK), grad[:, None].split(CHUNK), strict=True)
        ):
            if probabilities:
                predicted = probabilities[number]
            else:
                predicted = _probabilities(_logits(part, weights, len(head)), log_totals[number])
            # d logp / d logits[v] = 1[v = token] - softmax(logits)[v]    (equation 01.12 of the notebooks)
            d_logits = (-its * predicted).scatter_add(1, picked[:, None], its).to(part.dtype)
            d_states.append(_product(d_logits, weights))
            d_head += _product(d_logits.T, part)
        return torch.cat(d_states).to(states.dtype), d_head[: len(head)].to(head.dtype), None, None


def _logits(states: Tensor, weights: Tensor, vocab: int) -> Tensor:
    """Scores of the words, and minus infinity for the rows that only fill up."""
    logits = _product(states, weights.T)
    logits[:, vocab:] = -torch.inf
    return logits


def _probabilities(logits: Tensor, log_total: Tensor) -> Tensor:
    return logits.sub_(log_total[:, None]).exp_()


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right, with sums in float32 that are not rounded afterwards."""
    if left.dtype in (torch.float32, torch.float64):
        return left @ right
    if left.device.type == "cuda":
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()  # the same products: two half-precision numbers multiply exactly in float32


def _aligned(head: Tensor) -> Tensor:
    """The weights with rows of 0 up to a multiple of COLUMNS."""
    return F.pad(head, (0, 0, 0, -len(head) % COLUMNS))
