"""The whole of GPT-2 by hand: from packed pairs to log-probabilities and back to the gradient of every weight.

Autograd would build the backward pass from some 170 recorded operations of an embedded model's step, and some of a
small model's time goes into recording them. Here all of it is one operation, whose backward pass is written out. Each pair of
functions below is one part of the model, forwards and backwards; a backward function takes the gradient of the part's
output, named d_…, and returns that of its input and of its weights. They all follow from three rules:

    y = x W + b       d_x = d_y Wᵀ,  d_W = xᵀ d_y,  d_b = the sum of d_y over tokens
    y = x + f(x)      d_x = d_y + (the gradient through f)
    a token read in several places gets the sum of its gradients

Layer norm, GELU and softmax have formulas of their own, which PyTorch's kernels compute.
Only for a model whose modules are exactly those below, and for short rows: `can_do_by_hand` says so.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.modules import module as every_module
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.models.gpt2 import modeling_gpt2 as gpt2
from transformers.pytorch_utils import Conv1D

from dpo_notes.language.causal_rows import picked_out, put_back
from dpo_notes.language.head import forward_of, unwrapped
from dpo_notes.language.packed import PackedPairs
from dpo_notes.maths.lean_logps import lean_backward, lean_forward

aten = torch.ops.aten
EVERYTHING = [True, True, True]  # gradients of a layer norm's input, weight and bias
KNOWN = (GPT2LMHeadModel, gpt2.GPT2Model, gpt2.GPT2Block, gpt2.GPT2Attention, gpt2.GPT2MLP)
KNOWN += (nn.ModuleList, nn.Embedding, nn.LayerNorm, nn.Linear, nn.Dropout, nn.GELU, Conv1D)
LONGEST = 256  # tokens of a row; all probabilities of attention are kept, which in longer rows would take much memory
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def can_do_by_hand(model: nn.Module, packed: PackedPairs) -> bool:
    """Whether this file computes exactly what the model would, and faster: plain GPT-2 on a CPU, in full precision.

    Not with dropout, hooks, gradient checkpointing, adapters or any other kind of layer or weight.
    """
    if type(model) is not GPT2LMHeadModel or torch.is_autocast_enabled("cpu") or packed.rows.shape[1] > LONGEST:
        return False
    weights = list(model.parameters())
    return (
        model.lm_head.weight is model.transformer.wte.weight
        and len(weights) == 12 * len(model.transformer.h) + 4
        and all(type(weight) is nn.Parameter and weight.device.type == "cpu" for weight in weights)
        and {weight.dtype for weight in weights} in ({torch.float32}, {torch.float64})
        and all(_is_plain(module, model.config) for module in model.modules())
        and not any(getattr(every_module, f"_global{name}") for name in HOOKS)
    )


def _is_plain(module: nn.Module, config: GPT2Config) -> bool:
    """Whether it is one of the known modules, and nothing is attached to it that changes what it computes."""
    if type(module) not in KNOWN or "forward" in vars(module) or any(getattr(module, name) for name in HOOKS):
        return False
    match module:
        case nn.Dropout():
            return module.p == 0 or not module.training
        case nn.GELU():
            return module.approximate == "tanh"
        case nn.LayerNorm():
            return module.eps == config.layer_norm_epsilon
        case gpt2.GPT2Attention():
            usual = module.num_heads == config.n_head and module.scaling == module.head_dim**-0.5
            return usual and not (module.reorder_and_upcast_attn or module.is_cross_attention)
    return not getattr(module, "gradient_checkpointing", False) or not module.training


def token_logps_by_hand(model: nn.Module, packed: PackedPairs) -> Float[Tensor, " response_tokens"]:
    """Log-probability of each response token, in nats, in the order of `packed.response_tokens`.

    A wrapper for several processes is called as it would be for the model itself: it prepares for the gradients then.
    """
    inner = unwrapped(model)
    with forward_of(inner, lambda packed: _token_logps(inner, packed)):
        return model(packed=packed)


def _token_logps(model: GPT2LMHeadModel, packed: PackedPairs) -> Float[Tensor, " response_tokens"]:
    body = model.transformer
    weights = [body.wte.weight, body.wpe.weight]
    for block in body.h:
        for part in (block.ln_1, block.attn.c_attn, block.attn.c_proj, block.ln_2, block.mlp.c_fc, block.mlp.c_proj):
            weights += [part.weight, part.bias]
    weights += [body.ln_f.weight, body.ln_f.bias]
    return _GPT2.apply(packed, model.config.n_head, model.config.layer_norm_epsilon, *weights)


class _GPT2(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, packed: PackedPairs, heads: int, eps: float, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)  # which notices if they change before the backward pass
        ctx.settings = packed, heads, eps
        logps, kept = forward(packed, heads, eps, weights)
        ctx.kept = kept if any(ctx.needs_input_grad) else None
        return logps

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, d_logps: Tensor) -> tuple[Tensor | None, ...]:
        kept, ctx.kept = ctx.kept, None  # used up below
        if kept is None:  # a second backward through a graph that was kept
            _, kept = forward(*ctx.settings, ctx.saved_tensors)
        return None, None, None, *backward(d_logps, kept, ctx.settings[0], ctx.saved_tensors)


def forward(packed: PackedPairs, heads: int, eps: float, weights: tuple[Tensor, ...]) -> tuple[Tensor, list]:
    """(log-probability of each response token, what the backward pass needs)."""
    words, positions, *of_blocks, norm_weight, norm_bias = weights
    x = words[packed.input_ids[0]] + positions[packed.position_ids[0]]
    kept = []
    for start in range(0, len(of_blocks), 12):
        x, kept_here = block_forward(x, packed, heads, eps, Block(*of_blocks[start : start + 12]))
        kept.append(kept_here)
    read = x.index_select(0, packed.predicting_index)  # the only places where something is predicted
    states, mean, rstd = aten.native_layer_norm(read, read.shape[1:], norm_weight, norm_bias, eps)
    logps, of_head = lean_forward(states, words, packed.response_tokens)
    return logps, [*kept, (read, mean, rstd, states, of_head)]


def backward(d_logps: Tensor, kept: list, packed: PackedPairs, weights: tuple[Tensor, ...]) -> list[Tensor]:
    """The gradient of each of the weights, in their order."""
    words, positions, *of_blocks, norm_weight, norm_bias = weights
    read, mean, rstd, states, of_head = kept.pop()
    d_states, d_words = lean_backward(d_logps, of_head, states, words, packed.response_tokens)
    d_read, *d_norm = aten.native_layer_norm_backward(
        d_states, read, read.shape[1:], mean, rstd, norm_weight, norm_bias, EVERYTHING
    )
    d_x = d_read.new_zeros(len(packed.place), d_read.shape[1]).index_add_(0, packed.predicting_index, d_read)
    d_blocks: list[Tensor] = []
    for start in range(len(of_blocks) - 12, -1, -12):
        d_x, d_here = block_backward(d_x, kept.pop(), packed, Block(*of_blocks[start : start + 12]))
        d_blocks = d_here + d_blocks
    d_words.index_add_(0, packed.input_ids[0], d_x)  # the same matrix embeds words and scores them
    d_positions = torch.zeros_like(positions).index_add_(0, packed.position_ids[0], d_x)
    return [d_words, d_positions, *d_blocks, *d_norm]


class Block(NamedTuple):
    """The weights of a block, in the order of its parts: x + attention(norm(x)), then x + feed_forward(norm(x))."""

    norm_1: Tensor
    norm_1_bias: Tensor
    qkv: Tensor  # queries, keys and values of all heads, side by side
    qkv_bias: Tensor
    out: Tensor
    out_bias: Tensor
    norm_2: Tensor
    norm_2_bias: Tensor
    wide: Tensor
    wide_bias: Tensor
    narrow: Tensor
    narrow_bias: Tensor


def block_forward(x: Tensor, packed: PackedPairs, heads: int, eps: float, w: Block) -> tuple[Tensor, tuple]:
    normed, *norm_1 = aten.native_layer_norm(x, x.shape[1:], w.norm_1, w.norm_1_bias, eps)
    mixed, of_attention = attend(torch.addmm(w.qkv_bias, normed, w.qkv), packed, heads)
    y = torch.addmm(w.out_bias, mixed, w.out).add_(x)
    again, *norm_2 = aten.native_layer_norm(y, y.shape[1:], w.norm_2, w.norm_2_bias, eps)
    wide = torch.addmm(w.wide_bias, again, w.wide)
    bent = F.gelu(wide, approximate="tanh")
    z = torch.addmm(w.narrow_bias, bent, w.narrow).add_(y)
    return z, (x, norm_1, normed, of_attention, mixed, y, norm_2, again, wide, bent)


def block_backward(d_z: Tensor, kept: tuple, packed: PackedPairs, w: Block) -> tuple[Tensor, list[Tensor]]:
    x, norm_1, normed, of_attention, mixed, y, norm_2, again, wide, bent = kept
    d_bent, *d_narrow = matrix_backward(d_z, bent, w.narrow)
    d_wide = aten.gelu_backward(d_bent, wide, approximate="tanh")
    d_again, *d_wide_weights = matrix_backward(d_wide, again, w.wide)
    d_y, *d_norm_2 = aten.native_layer_norm_backward(
        d_again, y, y.shape[1:], *norm_2, w.norm_2, w.norm_2_bias, EVERYTHING
    )
    d_y += d_z
    d_mixed, *d_out = matrix_backward(d_y, mixed, w.out)
    d_normed, *d_qkv = matrix_backward(attend_backward(d_mixed, of_attention, packed), normed, w.qkv)
    d_x, *d_norm_1 = aten.native_layer_norm_backward(
        d_normed, x, x.shape[1:], *norm_1, w.norm_1, w.norm_1_bias, EVERYTHING
    )
    d_x += d_y
    return d_x, [*d_norm_1, *d_qkv, *d_out, *d_norm_2, *d_wide_weights, *d_narrow]


def matrix_backward(d_y: Tensor, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(d_x, d_weight, d_bias) of y = x weight + bias."""
    return d_y @ weight.T, x.T @ d_y, d_y.sum(0)


def attend(qkv: Float[Tensor, "tokens channels3"], packed: PackedPairs, heads: int) -> tuple[Tensor, tuple]:
    """softmax(q kᵀ / sqrt(d)) v of each head, within rows [prompt response], where a token sees itself and those before."""
    rows, width = packed.rows.shape
    laid_out = qkv.index_select(0, packed.rows.flatten()).view(rows, width, 3, heads, -1)
    q, k, v = laid_out.permute(2, 0, 3, 1, 4).reshape(3, rows * heads, width, -1)
    later = qkv.new_full((width, width), -torch.inf).triu(1)
    seen = torch.baddbmm(later, q, k.mT, alpha=q.shape[2] ** -0.5).softmax(-1)  # how much of each token
    mixed = torch.bmm(seen, v).view(rows, heads, width, -1).transpose(1, 2).reshape(rows * width, -1)
    return mixed.index_select(0, packed.place), (q, k, v, seen)


def attend_backward(d_mixed: Tensor, kept: tuple, packed: PackedPairs) -> Float[Tensor, "tokens channels3"]:
    q, k, v, seen = kept
    rows, width = packed.rows.shape
    d_rows = put_back(d_mixed, torch.Size((rows, width, d_mixed.shape[1])), packed.place)
    d_out = d_rows.unflatten(2, (-1, q.shape[2])).transpose(1, 2).reshape(q.shape)
    d_v = torch.bmm(seen.mT, d_out)
    d_seen = torch.bmm(d_out, v.mT)
    d_scores = aten._softmax_backward_data(d_seen, seen, -1, seen.dtype)  # seen (d_seen - the sum of seen d_seen)
    d_scores *= q.shape[2] ** -0.5
    d_qkv = torch.stack([torch.bmm(d_scores, k), torch.bmm(d_scores.mT, q), d_v])
    d_rows = d_qkv.view(3, rows, -1, width, q.shape[2]).permute(1, 3, 0, 2, 4).reshape(rows, width, -1)
    return picked_out(d_rows, packed.place, packed.again)
