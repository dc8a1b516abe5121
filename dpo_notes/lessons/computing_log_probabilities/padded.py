"""One response scored with padding on either side, and with the model told of it or not."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.logps import sequence_logps, token_logps

SIDES = ("left", "right")
TOLD = ("nothing", "attention mask", "attention mask and position ids")


@torch.no_grad()
def padded_logp(
    model: PreTrainedModel,
    prompt: Sequence[int],
    response: Sequence[int],
    *,
    padding: Sequence[int],
    side: str,
    told: str,
) -> float:
    """log pi(y | x) in nats, summed, of a row that is padded. A demonstration: what is scored in earnest uses `collate`.

    padding: the tokens put in, any number of any token. side: "left" or "right". told: one of TOLD, what the model
    hears of the padding; with position ids, the first real token is at position 0.
    Raises InputError for another side or another word of what is told.
    Known value: the log-probability without padding, on the right always, on the left if all is told.
    """
    if side not in SIDES or told not in TOLD:
        raise InputError(f"side is {side!r} and told is {told!r}; expected one of {SIDES} and one of {TOLD}")
    before, after = (list(padding), []) if side == "left" else ([], list(padding))
    input_ids = torch.tensor([[*before, *prompt, *response, *after]], device=model.device)
    column = torch.arange(input_ids.shape[1], device=model.device)[None]
    start = len(before) + len(prompt)
    response_mask = (column >= start) & (column < start + len(response))
    real = (column >= len(before)) & (column < start + len(response))
    hears = {"attention_mask": real.long(), "position_ids": position_ids(column, left=len(before))}
    logits = model(input_ids, use_cache=False, **dict(list(hears.items())[: TOLD.index(told)])).logits
    return sequence_logps(token_logps(logits, input_ids), response_mask).item()


def position_ids(column: torch.Tensor, *, left: int) -> torch.Tensor:
    """Positions that count from the first real token, after `left` tokens of padding, which all get 0."""
    return (column - left).clamp(min=0)
