"""Encoded pairs as padded tensors, and batches of similar length in a seeded order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dpo_notes.pairs.encode import EncodedPair


@dataclass(frozen=True)
class Batch:
    """Sequences of prompt and response, padded. For B pairs, 2B rows: the chosen ones first, then the rejected ones.

    Padding is on the right, where the tokens before it cannot see it in a causal model, so no attention mask and no
    position ids are needed. The mask comes from lengths, never from token ids, because padding may be end of text.
    """

    input_ids: Int[Tensor, "rows time"]
    response_mask: Bool[Tensor, "rows time"]  # True at the response's tokens, end of text included
    response_index: Int[Tensor, " tokens"]  # where response_mask is True in input_ids.flatten(), in order

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__}
        return replace(self, **moved)

    def pin_memory(self) -> "Batch":
        """The same batch in memory from which a GPU copies while it computes."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in self.__dataclass_fields__})


def collate_pairs(pairs: Sequence[EncodedPair]) -> Batch:
    """B encoded pairs as 2B rows: the chosen responses, then the rejected ones in the same order."""
    return collate([pair.prompt for pair in pairs] * 2, [p.chosen for p in pairs] + [p.rejected for p in pairs])


def collate(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> Batch:
    """One row for each prompt with its response, padded on the right to the longest."""
    longest = max(len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True))
    input_ids = torch.zeros(len(prompts), longest, dtype=torch.long)  # padding may be any token: nothing sees it
    response_mask = torch.zeros(len(prompts), longest, dtype=torch.bool)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor([*prompt, *response])
        response_mask[row, len(prompt) : end] = True
    return Batch(input_ids, response_mask, response_mask.flatten().nonzero().squeeze(1))


def batches_of_like_length(
    lengths: Sequence[int], batch_size: int, *, generator: torch.Generator, pool: int = 32
) -> list[list[int]]:
    """Every index once, in batches of `batch_size` (the last may be smaller) of similar length, in random order.

    The indices are shuffled, sorted by length within pools of `pool` batches and cut into batches, which are then
    shuffled. So there is little padding, and each epoch still has an order of its own.
    """
    order = torch.randperm(len(lengths), generator=generator).tolist()
    width = pool * batch_size
    pools = [sorted(order[start : start + width], key=lengths.__getitem__) for start in range(0, len(order), width)]
    batches = [p[start : start + batch_size] for p in pools for start in range(0, len(p), batch_size)]
    return [batches[index] for index in torch.randperm(len(batches), generator=generator).tolist()]


def in_order_of_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Every index once, from the shortest to the longest, in batches of `batch_size`: least padding, for scoring."""
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
