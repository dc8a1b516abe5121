"""log pi(y | x) of chosen and rejected responses, in a readable and in fast ways. Tests show that all are equal."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.gpt2_by_hand import can_do_by_hand, token_logps_by_hand
from dpo_notes.language.head import head_sees_only, predicted_logps, unwrapped
from dpo_notes.language.load import context_length
from dpo_notes.language.packed import PackedPairs, in_rows, pack_pairs
from dpo_notes.language.packed_forward import can_pack, packed_token_logps
from dpo_notes.language.segments import has_flash_attention, with_segments
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.logps import sequence_logps, token_logps
from dpo_notes.pairs.batches import Batch, collate_pairs, in_order_of_length
from dpo_notes.pairs.encode import EncodedPair, encode_pairs
from dpo_notes.pairs.load import PreferencePair

PAIRS_PER_FORWARD = 16


def response_logps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair]
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(chosen, rejected): log pi(y | x) of each response, in nats, summed over its tokens and the end of text.

    log pi(y | x) = sum over t of log pi(y_t | x, y_<t). The graph is kept for a gradient: use
    torch.no_grad() if you need none.
    Long pairs are cut, with the warnings of `encode_pairs`. Raises InputError for what that refuses, and for no pairs.
    Known value: -(tokens + 1) * log(vocabulary) for a model whose logits are all equal.
    """
    if not pairs:
        raise InputError("no pairs to score; expected at least one")
    encoded = encode_pairs(tokenizer, pairs, max_length=context_length(model))
    batches = in_order_of_length([len(pair) for pair in encoded], PAIRS_PER_FORWARD)
    logps = [pair_logps(model, [encoded[i] for i in batch]) for batch in batches]
    chosen, rejected = (torch.cat(side) for side in zip(*logps, strict=True))
    back = torch.tensor([index for batch in batches for index in batch]).argsort().to(model.device)
    return chosen[back], rejected[back]


def pair_logps(
    model: nn.Module, pairs: Sequence[EncodedPair], *, reduction: str = "sum"
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(chosen, rejected) response log-probabilities, in nats, in the fastest way known to work for the model.

    All ways equal the readable one.
    """
    inner = unwrapped(model)
    half = torch.is_autocast_enabled(inner.device.type) or inner.dtype in (torch.bfloat16, torch.float16)
    laid_out = lay_out_pairs(model, pairs, device=inner.device, half=half and not inner.training)
    return laid_out_logps(model, laid_out, reduction=reduction)


def lay_out_pairs(
    model: nn.Module, pairs: Sequence[EncodedPair], *, device: torch.device, half: bool
) -> PackedPairs | Batch:
    """The pairs as tensors, still on the CPU: packed (`packed.py`) if the model can be, else padded.

    device: where the model will compute. half: whether it will do so in half precision and without dropout, for which a
    GPU has a faster attention.
    """
    if not can_pack(unwrapped(model), longest=max(map(len, pairs))):
        return collate_pairs(pairs)
    packed = pack_pairs(pairs)
    return with_segments(packed) if half and has_flash_attention(device) else packed


def laid_out_logps(
    model: nn.Module, pairs: PackedPairs | Batch, *, reduction: str = "sum"
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """`pair_logps` of pairs that are laid out. Packed, plain GPT-2 on a CPU is computed by hand."""
    pairs = pairs.to(unwrapped(model).device)
    if isinstance(pairs, Batch):
        return batch_logps(model, pairs, reduction=reduction)
    token_logps = token_logps_by_hand if can_do_by_hand(unwrapped(model), pairs) else packed_token_logps
    chosen, rejected = sequence_logps(*in_rows(token_logps(model, pairs), pairs), reduction=reduction).chunk(2)
    return chosen, rejected


def batch_logps_readable(
    model: nn.Module, batch: Batch, *, reduction: str = "sum"
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(chosen, rejected) response log-probabilities, in nats, the plain way: all logits, then the mask."""
    logits = model(input_ids=batch.input_ids).logits
    logps = token_logps(logits, batch.input_ids)
    chosen, rejected = sequence_logps(logps, batch.response_mask, reduction=reduction).chunk(2)
    return chosen, rejected


def batch_logps(
    model: nn.Module, batch: Batch, *, reduction: str = "sum"
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(chosen, rejected) response log-probabilities, in nats: equal to the readable way, without the wasted logits.

    Only the positions that predict a response token pass through the output head. For GPT-2 the head scores 50,257
    words, most of a small model's work, and for prompts and padding the result would be thrown away.
    """
    logps = response_token_logps(model, batch)
    chosen, rejected = sequence_logps(logps, batch.response_mask, reduction=reduction).chunk(2)
    return chosen, rejected


def response_token_logps(model: nn.Module, batch: Batch) -> Float[Tensor, "rows time"]:
    """Log-probability of each response token, in nats, indexed like `batch.input_ids`; 0 outside the responses."""
    tokens = batch.input_ids.flatten()[batch.response_index]
    return at_responses(predicted_logps(model, batch.response_index - 1, tokens, input_ids=batch.input_ids), batch)


def at_responses(values: Float[Tensor, " tokens *each"], batch: Batch) -> Float[Tensor, "rows time *each"]:
    """One value for each response token, in the order of `batch.response_index`, where the token is; 0 elsewhere."""
    everywhere = values.new_zeros(batch.input_ids.numel(), *values.shape[1:])
    return everywhere.index_copy(0, batch.response_index, values).unflatten(0, batch.input_ids.shape)


def response_logits(model: nn.Module, batch: Batch) -> Float[Tensor, "tokens vocab"]:
    """The logits that predict each response token, in the order of `batch.response_index`, and no others."""
    with head_sees_only(model, batch.response_index - 1):  # the position before a token predicts it
        return model(input_ids=batch.input_ids, use_cache=False).logits
