"""One response scored with padding on either side, which the model is told about or not."""

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
    """log pi(y | x) of a padded row, summed, in nats. For demonstration only: the package scores with `collate`.

    padding: the tokens put in, any number of any token. side: "left" or "right". told: one of TOLD, the inputs that
    tell the model about the padding; with position ids, the first real token is at position 0.
    Raises InputError for any other side or `told`.
    Known value: the log-probability without padding, on the right always, on the left with mask and position ids.
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
    """Positions counted from the first real token; the `left` tokens of padding before it all get 0."""
    return (column - left).clamp(min=0)
