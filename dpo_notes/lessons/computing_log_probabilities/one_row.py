"""A comparison in one row: the prompt once, then both responses, to show how much of the work can be shared."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class OneRow(NamedTuple):
    """Prompt, chosen and rejected in one sequence; `sees` masks attention, `before` holds what predicts each token."""

    input_ids: Int[Tensor, "1 time"]
    position_ids: Int[Tensor, "1 time"]
    sees: Bool[Tensor, "1 1 time time"]
    before: Int[Tensor, " tokens"]  # the column whose logits predict each response token, the chosen ones first


def one_row(prompt: Sequence[int], chosen: Sequence[int], rejected: Sequence[int]) -> OneRow:
    """The three as one sequence, in which each response has the positions it would have right after the prompt.

    Give the model `input_ids`, `position_ids` and `attention_mask=sees`. Then `logits[0, before]` are those of two
    rows, and the prompt was computed once (Wang and Hegde 2024, arXiv 2410.20305).
    Known value: the first token of either response is predicted by the last column of the prompt.
    """
    p, c, r = len(prompt), len(chosen), len(rejected)
    input_ids = torch.tensor([[*prompt, *chosen, *rejected]])
    position_ids = torch.tensor([[*range(p + c), *range(p, p + r)]])  # the second response starts where the first did
    sees = torch.ones(p + c + r, p + c + r, dtype=torch.bool).tril()  # everyone sees what is before it …
    sees[p + c :, p : p + c] = False  # … but the rejected response does not see the chosen one
    before = torch.tensor([p - 1, *range(p, p + c - 1), p - 1, *range(p + c, p + c + r - 1)])
    return OneRow(input_ids, position_ids, sees[None, None], before)
