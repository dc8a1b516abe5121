"""Attention over packed pairs on a GPU: FlashAttention on segments of any lengths, without padding and without a mask."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.attention.varlen import varlen_attn

from dpo_notes.language.packed import PackedPairs, Segments

MULTIPLE = 256  # tokens to which the row is filled up: fewer shapes for the libraries to plan for
CAUSAL = (-1, 0)  # a query sees everything before it and nothing after, the last query the last key


def has_flash_attention(device: torch.device) -> bool:
    """Whether FlashAttention runs there: on NVIDIA's GPUs since Ampere (2020)."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def with_segments(packed: PackedPairs, *, multiple: int = MULTIPLE) -> PackedPairs:
    """The same pairs with their `Segments`, filled up to a multiple of tokens with a segment that no other sees."""
    prompt_tokens, tokens = len(packed.again), len(packed.place)
    filling = -tokens % multiple
    taken = torch.cat([packed.place, packed.again]).sort().values  # the places of the rows that hold a token
    index = torch.empty(packed.rows.numel(), dtype=torch.long)  # of each place among these
    index[taken] = torch.arange(len(taken)) + prompt_tokens
    keys = torch.cat([torch.arange(prompt_tokens), packed.rows.flatten()[taken]])

    in_rows = torch.bincount(taken // packed.rows.shape[1])  # tokens of each row [prompt response]
    prompts = torch.bincount(packed.place[:prompt_tokens] // packed.rows.shape[1])
    prompts = prompts[: len(in_rows) // 2]
    queries = torch.cat([prompts, in_rows - prompts.repeat(2)])
    seen = torch.cat([prompts, in_rows])
    if filling:
        fill = torch.tensor([filling])
        queries, seen = torch.cat([queries, fill]), torch.cat([seen, fill])
        keys = torch.cat([keys, tokens + torch.arange(filling)])
    segments = Segments(
        keys=keys,
        query_starts=_starts(queries),
        key_starts=_starts(seen),
        own=torch.cat(
            [
                torch.arange(prompt_tokens),
                index[packed.place[prompt_tokens:]],
                len(keys) - filling + torch.arange(filling),
            ]
        ),
        twice=torch.stack([index[packed.place[:prompt_tokens]], index[packed.again]]),
        longest_query=int(queries.max()),
        longest_keys=int(seen.max()),
    )
    return replace(
        packed,
        input_ids=F.pad(packed.input_ids, (0, filling)),
        position_ids=F.pad(packed.position_ids, (0, filling)),
        segments=segments,
    )


def segment_attention(
    module: nn.Module,
    query: Float[Tensor, "1 heads tokens channels"],
    key: Float[Tensor, "1 key_heads tokens channels"],
    value: Float[Tensor, "1 key_heads tokens channels"],
    attention_mask: None,
    *,
    packed: PackedPairs,
    scaling: float | None = None,
    **_,
) -> tuple[Float[Tensor, "1 tokens heads channels"], None]:
    """As `causal_rows`, and called in the same way; half precision only, and without dropout."""
    segments = packed.segments
    together = torch.cat([key, value], dim=1)[0].transpose(0, 1)
    keys, values = _Gather.apply(together, segments.keys, segments.own, segments.twice).chunk(2, dim=1)
    seen = varlen_attn(
        query[0].transpose(0, 1),
        keys,
        values,
        segments.query_starts,
        segments.key_starts,
        segments.longest_query,
        segments.longest_keys,
        scale=scaling,
        window_size=CAUSAL,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return seen[None], None


class _Gather(torch.autograd.Function):
    """Keys of all segments. A prompt's three gradients are summed in float32, and always in the same order."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, keys: Tensor, own: Tensor, twice: Tensor) -> Tensor:
        ctx.save_for_backward(own, twice)
        return values.index_select(0, keys)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        own, twice = ctx.saved_tensors
        exact = torch.promote_types(grad.dtype, torch.float32)
        total, count = grad.index_select(0, own), twice.shape[1]
        of_prompts = total[:count].to(exact)
        for places in twice:
            of_prompts = of_prompts + grad.index_select(0, places).to(exact)
        total[:count] = of_prompts.to(grad.dtype)
        return total, None, None, None


def _starts(lengths: Int[Tensor, " segments"]) -> Int[Tensor, " bounds"]:
    return F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
