"""Where a reward head may read: its output at every position of a padded sequence, and rules that pick one."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.language.reward_head import check_reward_model
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.batches import collate_pairs, in_order_of_length
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair

PAIRS_PER_FORWARD = 16


class Padded(NamedTuple):
    """One sequence with padding around it. `mask` is True at its own tokens; `positions` are position ids."""

    ids: Int[Tensor, " time"]
    mask: Bool[Tensor, " time"]
    positions: Int[Tensor, " time"]


def pad(ids: Sequence[int], *, padding_id: int, left: int = 0, right: int = 0) -> Padded:
    """The sequence with `left` and `right` padding tokens around it; positions count from its first own token.

    padding_id: any token, even end of text, because the mask comes from lengths. Raises InputError for an empty
    sequence.
    Known value: without padding the mask is True everywhere, and the positions are 0, 1, 2, …
    """
    if not ids:
        raise InputError("the sequence has no token; expected at least one")
    places = torch.arange(left + len(ids) + right)
    mask = (places >= left) & (places < left + len(ids))
    padded = torch.tensor([padding_id] * left + list(ids) + [padding_id] * right)
    return Padded(padded, mask, (places - left).clamp(min=0))


@torch.no_grad()
def rewards_everywhere(reward_model: PreTrainedModel, padded: Padded) -> Float[Tensor, " time"]:
    """The head's output at every position, in nats: w · h_t. Padding is masked, but has an output too.

    Raises InputError for a model without a reward head.
    Known value: at the last own token, `reward_of` of the text; 0 everywhere from a new reward model.
    """
    check_reward_model(reward_model)
    hidden = reward_model.base_model(
        input_ids=padded.ids[None],
        attention_mask=padded.mask[None].long(),
        position_ids=padded.positions[None],
        use_cache=False,
    ).last_hidden_state
    return reward_model.score(hidden)[0, :, 0]


def last_by_length(padded: Padded) -> int:
    """Position of the sequence's last own token, from the mask. Known value: left + tokens - 1."""
    return int(padded.mask.nonzero().max())


def last_column(padded: Padded) -> int:
    """The last position, own token or padding. Known value: `last_by_length` with padding on the left."""
    return len(padded.ids) - 1


def last_by_id(padded: Padded, *, padding_id: int) -> int:
    """The rightmost token that is not the padding token, as transformers' sequence classification looks for it; else 0.

    Known value: `last_by_length` where the sequence does not end in the padding token; one less where it does once.
    """
    return int((torch.arange(len(padded.ids)) * (padded.ids != padding_id)).argmax())


@torch.no_grad()
def last_states(
    reward_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair]
) -> tuple[Float[Tensor, "pairs channels"], Float[Tensor, "pairs channels"]]:
    """(chosen, rejected): the hidden state at the end of text of each response, the head's only input.

    Encoded as in `encode_pairs`. Raises InputError for a model without a reward head.
    Known value: times the head's weights, `reward_of` the response.
    """
    check_reward_model(reward_model)
    encoded = encode_pairs(tokenizer, pairs, max_length=context_length(reward_model))
    states = torch.zeros(2, len(pairs), reward_model.score.in_features)
    for numbers in in_order_of_length([len(pair) for pair in encoded], PAIRS_PER_FORWARD):
        batch = collate_pairs([encoded[number] for number in numbers])
        last = torch.tensor([row.nonzero().max() for row in batch.response_mask])
        hidden = reward_model.base_model(input_ids=batch.input_ids, use_cache=False).last_hidden_state
        states[:, numbers] = hidden[torch.arange(len(last)), last].float().view(2, len(numbers), -1)
    return states[0], states[1]
