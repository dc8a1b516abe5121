"""Attention over packed pairs: the tokens laid out in rows [prompt response], and ordinary causal attention there."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from dpo_notes.language.packed import PackedPairs


def causal_rows(
    module: nn.Module,
    query: Float[Tensor, "1 heads tokens channels"],
    key: Float[Tensor, "1 key_heads tokens channels"],
    value: Float[Tensor, "1 key_heads tokens channels"],
    attention_mask: None,
    *,
    packed: PackedPairs,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_,
) -> tuple[Float[Tensor, "1 tokens heads channels"], None]:
    """Attention from each response to its prompt and itself, and within each prompt.

    Padding is on the right, where no earlier token sees it, so no mask is needed. Each prompt attends twice, with the
    same result, which costs little: attention is a small part of a step.
    transformers calls this in place of its own attention when the model's configuration names "causal_rows", and passes
    on `packed`, which the model was called with.
    """
    heads = [values.shape[1] for values in (query, key, value)]
    together = torch.cat([query, key, value], dim=1)[0].transpose(0, 1)  # moved as one: fewer operations
    laid_out = lay_out(together.flatten(1), packed).unflatten(2, (-1, query.shape[-1])).transpose(1, 2)
    settings = {"scale": scaling, "dropout_p": dropout, "enable_gqa": heads[0] != heads[1]}
    seen = F.scaled_dot_product_attention(*laid_out.split(heads, dim=1), is_causal=True, **settings)
    return take_up(seen.transpose(1, 2).flatten(2), packed).unflatten(1, (heads[0], -1))[None], None


def lay_out(values: Float[Tensor, "tokens channels"], packed: PackedPairs) -> Float[Tensor, "rows width channels"]:
    """The values of the tokens, laid out in the rows. The values at padding must reach no loss."""
    return _LayOut.apply(values, packed.rows, packed.place, packed.again)


def take_up(values: Float[Tensor, "rows width channels"], packed: PackedPairs) -> Float[Tensor, "tokens channels"]:
    """The way back: the values of the tokens, those of prompts from the rows of the chosen responses."""
    return _TakeUp.apply(values, packed.place)


class _LayOut(torch.autograd.Function):
    """Its gradient is picked out of the rows, twice for prompts. Autograd would add up token by token."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, rows: Tensor, place: Tensor, again: Tensor) -> Tensor:
        ctx.save_for_backward(place, again)
        return values.index_select(0, rows.flatten()).unflatten(0, rows.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        return picked_out(grad, *ctx.saved_tensors), None, None, None


class _TakeUp(torch.autograd.Function):
    """Its gradient is put back into the rows, with 0 elsewhere."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.shape = values.shape
        return values.flatten(0, 1).index_select(0, place)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return put_back(grad, ctx.shape, *ctx.saved_tensors), None


def picked_out(
    grad: Float[Tensor, "rows width channels"], place: Tensor, again: Tensor
) -> Float[Tensor, "tokens channels"]:
    """The gradient of `lay_out`: each token's own place, and a prompt's second one added."""
    grad = grad.flatten(0, 1)
    picked = grad.index_select(0, place)
    picked[: len(again)] += grad.index_select(0, again)
    return picked


def put_back(grad: Float[Tensor, "tokens channels"], shape: torch.Size, place: Tensor) -> Tensor:
    """The gradient of `take_up`."""
    return grad.new_zeros(shape[0] * shape[1], shape[2]).index_copy_(0, place, grad).view(shape)
