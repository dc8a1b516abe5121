"""Pairs in one row without padding, each prompt once: fewer tokens in every layer than two padded rows a pair."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from transformers import AttentionInterface, PreTrainedModel

from dpo_notes.language.head import predicted_logps, unwrapped
from dpo_notes.pairs.encode import EncodedPair

# Model types; others may use attention that packed_attention does not support, or change logits after the head.
PACKABLE = ("gpt2", "gpt_neox", "llama")


@dataclass(frozen=True)
class Grid:
    """How to lay out consecutive sequences as rows padded on the right, and how to undo it."""

    source: Int[Tensor, "rows width"]  # the index of each place's token in the sequences; any at padding
    real: Int[Tensor, " tokens"]  # the places in the flattened grid that hold a token, in the order of the sequences

    def lay_out(self, values: Float[Tensor, "tokens heads channels"]) -> Float[Tensor, "rows heads width channels"]:
        """The values of the tokens, laid out in the grid. The values at padding must reach no loss."""
        return _LayOut.apply(values, self.source, self.real).transpose(1, 2)

    def take_up(self, values: Float[Tensor, "rows heads width channels"]) -> Float[Tensor, "tokens heads channels"]:
        """The way back: the values of the tokens, without the padding."""
        return _TakeUp.apply(values.transpose(1, 2), self.real)


class _LayOut(torch.autograd.Function):
    """Its gradient is picked out of the grid. Autograd would add up, since it must allow a token in several places."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, source: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        return values[source]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.flatten(0, 1)[ctx.saved_tensors[0]], None, None


class _TakeUp(torch.autograd.Function):
    """Its gradient is put back into the grid, with 0 at padding."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, real: Tensor) -> Tensor:
        ctx.save_for_backward(real)
        ctx.shape = values.shape
        return values.flatten(0, 1)[real]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        places = ctx.shape[0] * ctx.shape[1]
        return grad.new_zeros(places, *ctx.shape[2:]).index_copy_(0, ctx.saved_tensors[0], grad).view(ctx.shape), None


@dataclass(frozen=True)
class PackedPairs:
    """B pairs as one row: all prompts, then all chosen responses, then all rejected ones; every token once.

        prompt 1 | prompt 2 | chosen 1 | chosen 2 | rejected 1 | rejected 2

    Most of a Transformer works on tokens one by one, wherever they are: embedding, layer norms, the matrices of
    attention and feed-forward layers, the head. Two things depend on the place. Positions count from the beginning of
    the prompt in both of its responses. And attention sees, from a response, its own prompt and its own earlier tokens,
    which `packed_attention` takes care of.
    """

    input_ids: Int[Tensor, "1 tokens"]
    position_ids: Int[Tensor, "1 tokens"]
    prompts: Grid  # B rows
    responses: Grid  # 2B rows: the chosen ones, then the rejected ones
    visible: Bool[Tensor, "rows 1 width seen"]  # what a response token sees: its prompt, then its own response
    response_index: Int[Tensor, " response_tokens"]  # of the response tokens in the row
    predicting_index: Int[Tensor, " response_tokens"]  # of the token before each, at which it is predicted

    def to(self, device: torch.device | str) -> "PackedPairs":
        """The same pairs on another device."""
        return replace(self, **{name: _moved(getattr(self, name), device) for name in self.__dataclass_fields__})


def pack_pairs(pairs: Sequence[EncodedPair]) -> PackedPairs:
    """Encoded pairs as one row."""
    prompts = [pair.prompt for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    ids = torch.tensor([token for sequence in prompts + responses for token in sequence])
    prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
    lengths = torch.tensor([len(response) for response in responses])
    border = int(prompt_lengths.sum())  # where the responses begin
    prompt_ends, starts = prompt_lengths.cumsum(0), border + lengths.cumsum(0) - lengths
    response_index = torch.arange(border, len(ids))
    predicting_index = response_index - 1
    predicting_index[starts - border] = (prompt_ends - 1).repeat(2)  # the last token of the prompt predicts the first
    within = response_index - starts.repeat_interleave(lengths)
    prompt_positions = torch.arange(border) - (prompt_ends - prompt_lengths).repeat_interleave(prompt_lengths)
    positions = torch.cat([prompt_positions, within + prompt_lengths.repeat(2).repeat_interleave(lengths)])
    prompt_grid, prompt_real = _grid(prompt_ends - prompt_lengths, prompt_lengths)
    response_grid, _ = _grid(starts - border, lengths)
    width = response_grid.source.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool).tril().expand(len(responses), -1, -1)
    of_prompt = prompt_real.repeat(2, 1)[:, None].expand(-1, width, -1)
    return PackedPairs(
        input_ids=ids[None],
        position_ids=positions[None],
        prompts=prompt_grid,
        responses=response_grid,
        visible=torch.cat([of_prompt, earlier], dim=2)[:, None],
        response_index=response_index,
        predicting_index=predicting_index,
    )


def can_pack(model: PreTrainedModel) -> bool:
    """Whether a test has shown packed and readable log-probabilities to be equal for this type of model."""
    return model.config.model_type in PACKABLE


def packed_token_logps(
    model: nn.Module, packed: PackedPairs
) -> tuple[Float[Tensor, "rows time"], Bool[Tensor, "rows time"]]:
    """(log-probability of each response token, in nats; mask of these tokens): a row a response, chosen ones first.

    Column 0 stands for the prompt and is empty.
    """
    tokens = packed.input_ids[0, packed.response_index]
    inputs = {"input_ids": packed.input_ids, "position_ids": packed.position_ids, "packed": packed}
    with attention_named(model, "packed_pairs"):
        logps = predicted_logps(model, packed.predicting_index, tokens, **inputs)
    places = packed.responses.source
    in_rows = logps.new_zeros(places.numel()).index_copy(0, packed.responses.real, logps).view_as(places)
    real = torch.zeros_like(places, dtype=torch.bool).flatten().index_fill(0, packed.responses.real, True)
    return F.pad(in_rows, (1, 0)), F.pad(real.view_as(places), (1, 0))


@contextmanager
def attention_named(model: nn.Module, name: str) -> Iterator[None]:
    """While open, the model uses the attention function that transformers has registered under this name."""
    config = unwrapped(model).config
    before, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = before


def packed_attention(
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
    """Attention within each prompt, and from each response to its prompt and itself; the rest is as in any Transformer.

    Tokens are laid out as padded rows only here, because only attention depends on which tokens are visible. A
    prompt's keys and values serve both of its responses.
    transformers calls this in place of its own attention when the model's configuration names "packed_pairs", and
    passes on `packed`, which the model was called with.
    """
    settings = {"scale": scaling, "dropout_p": dropout, "enable_gqa": query.shape[1] != key.shape[1]}
    heads = [values.shape[1] for values in (query, key, value)]
    together = torch.cat([query, key, value], dim=1)[0].transpose(0, 1)  # moved as one: fewer operations
    ahead, behind = together.split([len(packed.prompts.real), len(packed.responses.real)])
    of_prompts, of_responses = packed.prompts.lay_out(ahead), packed.responses.lay_out(behind)
    prompts = F.scaled_dot_product_attention(*of_prompts.split(heads, dim=1), is_causal=True, **settings)
    queries, own = of_responses.split([heads[0], sum(heads[1:])], dim=1)
    before = of_prompts[:, heads[0] :].repeat(2, 1, 1, 1)
    keys, values = torch.cat([before, own], dim=2).split(heads[1:], dim=1)
    responses = F.scaled_dot_product_attention(queries, keys, values, attn_mask=packed.visible, **settings)
    return torch.cat([packed.prompts.take_up(prompts), packed.responses.take_up(responses)])[None], None


AttentionInterface.register("packed_pairs", packed_attention)


def _grid(starts: Int[Tensor, " rows"], lengths: Int[Tensor, " rows"]) -> tuple[Grid, Bool[Tensor, "rows width"]]:
    """The grid of sequences with these starts and lengths, and where it holds a token."""
    columns = torch.arange(int(lengths.max()))
    real = columns < lengths[:, None]
    return Grid(torch.where(real, starts[:, None] + columns, 0), real.flatten().nonzero().squeeze(1)), real


def _moved(part: Tensor | Grid, device: torch.device | str) -> Tensor | Grid:
    if isinstance(part, Tensor):
        return part.to(device, non_blocking=True)
    return Grid(part.source.to(device, non_blocking=True), part.real.to(device, non_blocking=True))
