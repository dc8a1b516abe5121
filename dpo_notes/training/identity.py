"""The identity of a run: we resume its last checkpoint only if none of this has changed."""

import hashlib
import importlib.metadata
import platform
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial

import torch
from transformers import PreTrainedModel

PACKAGES = ("dpo-notes", "torch", "transformers", "accelerate", "tokenizers", "numpy")
SHOWN, LONGEST = 5, 200  # differences in a message, and characters of a value: a file may contain anything
SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 100
SHORT.maxlist = SHORT.maxtuple = 20


def versions() -> dict[str, str]:
    """Python and the packages that a run depends on, each with its version; torch's says for which device it was built."""
    found = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}
    return found | {"torch": torch.__version__}


def run_identity(config: object, **facts: object) -> dict[str, object]:
    """The settings of a run (a dataclass) and its other facts by name, ready for JSON.

    Large things enter as a digest, from the functions below.
    """
    return {"config": asdict(config), **facts}


def data_digest(examples: Sequence[object]) -> str:
    """Digest of encoded examples, in their order."""
    return _digest(map(repr, examples))


def shapes_digest(model: PreTrainedModel) -> str:
    """Digest of the shapes of the model that we train; its weights come from the checkpoint."""
    return _digest(repr((name, p.shape)) for name, p in model.named_parameters())


def weights_digest(model: PreTrainedModel) -> str:
    """Digest of every weight of a model that does not change, such as the reference."""
    return _digest(_weights(model))


def function_name(function: Callable) -> str:
    """Name of a function, such as a loss, with the arguments that `partial` fixed; for a model, the weights' digest."""
    if isinstance(function, partial):
        given = [_words(value) for value in function.args]
        given += [f"{name}={_words(value)}" for name, value in function.keywords.items()]
        return f"{function_name(function.func)}({', '.join(given)})"
    return getattr(function, "__qualname__", type(function).__name__)


def differences(theirs: dict, ours: dict) -> list[str]:
    """One phrase for each entry in which two identities differ: its old and its new value."""
    found = []
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        was, now = theirs.get(name), ours.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            found += differences(was, now)
        elif was != now:
            found.append(f"{name if name in ours else _short(name)} was {_short(was)} and is now {_short(now)}")
    return found


def in_one_line(found: Sequence[str]) -> str:
    """The first few differences, in one line."""
    return "; ".join([*found[:SHOWN], *[f"and {len(found) - SHOWN} more"] * (len(found) > SHOWN)])


def _short(value: object) -> str:
    words = SHORT.repr(value)
    return words if len(words) <= LONGEST else words[:LONGEST] + "…"


def _words(value: object) -> str:
    """An argument as text that is the same in the next process."""
    if isinstance(value, PreTrainedModel):
        return f"{type(value).__name__} {weights_digest(value)}"
    return repr(value) if isinstance(value, str | int | float | None) else type(value).__name__


def _digest(pieces: Iterable) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece.encode() if isinstance(piece, str) else piece)
    return digest.hexdigest()[:16]


def _weights(model: PreTrainedModel):
    for name, parameter in model.named_parameters():
        yield name
        yield parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()
