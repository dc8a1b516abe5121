"""dpo_notes: from "what is a language model" to a GPT-2 trained with Direct Preference Optimization.

The names below are the public ones. Each is loaded when it is first used, so that ``import dpo_notes`` is immediate.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpo_notes.language.generate import sample
    from dpo_notes.language.load import frozen_copy, load_model
    from dpo_notes.language.score import response_logps
    from dpo_notes.maths.losses import dpo_loss
    from dpo_notes.pairs.load import PreferencePair, load_pairs
    from dpo_notes.training.config import DPOConfig
    from dpo_notes.training.dpo import train_dpo
    from dpo_notes.training.preference_loss import LOSSES, PreferenceLoss
    from dpo_notes.training.training import Training

__version__ = "0.1.0"
__all__ = [
    "LOSSES",
    "DPOConfig",
    "PreferenceLoss",
    "PreferencePair",
    "Training",
    "dpo_loss",
    "frozen_copy",
    "load_model",
    "load_pairs",
    "response_logps",
    "sample",
    "train_dpo",
]
_PLACES = {
    "language.generate": ("sample",),
    "language.load": ("frozen_copy", "load_model"),
    "language.score": ("response_logps",),
    "maths.losses": ("dpo_loss",),
    "pairs.load": ("PreferencePair", "load_pairs"),
    "training.config": ("DPOConfig",),
    "training.dpo": ("train_dpo",),
    "training.preference_loss": ("LOSSES", "PreferenceLoss"),
    "training.training": ("Training",),
}


def __getattr__(name: str) -> object:
    """The public name, from the module where it lives (PEP 562)."""
    for place, names in _PLACES.items():
        if name in names:
            return globals().setdefault(name, getattr(importlib.import_module(f"dpo_notes.{place}"), name))
    raise AttributeError(f"module 'dpo_notes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
