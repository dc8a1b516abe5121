"""A model's forward pass over packed pairs: which models can be packed, and how they attend then."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedModel

from dpo_notes.language.causal_rows import causal_rows
from dpo_notes.language.head import PLAIN, predicted_logps, unwrapped
from dpo_notes.language.packed import PackedPairs
from dpo_notes.language.segments import segment_attention

AttentionInterface.register("causal_rows", causal_rows)
AttentionInterface.register("segments", segment_attention)


def can_pack(model: PreTrainedModel, *, longest: int) -> bool:
    """Whether a test has shown packed and readable log-probabilities to be equal for this type of model.

    longest: tokens of the longest sequence; in a model with sliding windows, all must be within reach of its last one.
    """
    window = getattr(model.config, "sliding_window", None)
    return model.config.model_type in PLAIN and (window is None or longest <= window)


def packed_token_logps(model: nn.Module, packed: PackedPairs) -> Float[Tensor, " response_tokens"]:
    """Log-probability of each response token, in nats, in the order of `packed.response_tokens`."""
    inputs = {"input_ids": packed.input_ids, "position_ids": packed.position_ids, "packed": packed}
    with attention_named(model, "causal_rows" if packed.segments is None else "segments"):
        return predicted_logps(model, packed.predicting_index, packed.response_tokens, **inputs)


@contextmanager
def attention_named(model: nn.Module, name: str) -> Iterator[None]:
    """While open, the model uses the attention function that transformers has registered under this name."""
    config = unwrapped(model).config
    before, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = before
