"""What makes a run that run: its last checkpoint is resumed only where all of this is as it was."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial

import torch
from transformers import PreTrainedModel

from dpo_notes.language.encode import EncodedPair
from dpo_notes.training.config import DPOConfig


def run_identity(
    config: DPOConfig,
    pairs: Sequence[EncodedPair],
    eval_pairs: Sequence[EncodedPair],
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    loss_fn: Callable,
    processes: int,
) -> dict[str, object]:
    """Config, data, models and loss of a run, as JSON has it; large things by a digest.

    The policy counts by its shapes alone: its weights come from the checkpoint. The loss counts by its name.
    """
    return {
        "config": asdict(config),
        "pairs": _digest(map(repr, pairs)),
        "eval_pairs": _digest(map(repr, eval_pairs)),
        "policy": _digest(repr((name, p.shape)) for name, p in policy.named_parameters()),
        "reference": None if reference is None else _digest(_weights(reference)),
        "loss": _name(loss_fn),
        "processes": processes,
    }


def differences(theirs: dict, ours: dict) -> list[str]:
    """One phrase for each entry in which two identities differ: what it was, and what it is now."""
    found = []
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        was, now = theirs.get(name), ours.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            found += differences(was, now)
        elif was != now:
            found.append(f"{name} was {was!r} and is now {now!r}")
    return found


def _digest(pieces) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode() if isinstance(piece, str) else piece)
    return digest.hexdigest()[:16]


def _weights(model: PreTrainedModel):
    for name, parameter in model.named_parameters():
        yield name
        yield parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()


def _name(loss_fn: Callable) -> str:
    if isinstance(loss_fn, partial):
        return f"{_name(loss_fn.func)} {loss_fn.keywords}"
    return getattr(loss_fn, "__qualname__", type(loss_fn).__name__)
