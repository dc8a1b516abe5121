"""Both sequences of a comparison, token by token: the mask, both log-probabilities, and shares of the reward."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.maths.logps import token_logps
from dpo_notes.maths.optimum import implicit_reward
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.teaching.tokens import token_words

RESPONSES = ("chosen", "rejected")


@dataclass(frozen=True)
class Row:
    """One sequence, token by token: its words, its mask, both log-probabilities, and its shares of the reward."""

    words: list[str]
    counts: Bool[Tensor, " time"]
    policy: Float[Tensor, " time"]
    reference: Float[Tensor, " time"]
    shares: Float[Tensor, " time"]  # beta * (policy - reference) where the token counts, else 0


@torch.no_grad()
def rows_of(
    tokenizer: PreTrainedTokenizerBase,
    pair: PreferencePair,
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    *,
    beta: float,
) -> dict[str, Row]:
    """The chosen and the rejected sequence of a comparison, without padding."""
    (encoded,) = encode_pairs(tokenizer, [pair], max_length=context_length(policy))
    batch = collate_pairs([encoded])
    logps, ref_logps = (token_logps(model(batch.input_ids).logits, batch.input_ids) for model in (policy, reference))
    rows = {}
    for number, name in enumerate(RESPONSES):
        end = len(encoded.prompt) + len(getattr(encoded, name))
        counts = batch.response_mask[number, :end]
        both = logps[number, :end], ref_logps[number, :end]
        shares = torch.where(counts, implicit_reward(*both, beta=beta), 0)
        rows[name] = Row(token_words(tokenizer, batch.input_ids[number, :end]), counts, *both, shares)
    return rows
