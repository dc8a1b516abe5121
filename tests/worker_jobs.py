"""Jobs for worker processes to do: each leaves a file that says what it saw."""

import os
import signal
import time
from pathlib import Path

import torch
from accelerate import PartialState

from dpo_notes.maths.errors import InputError


def note(folder: Path, name: str) -> None:
    """Leave a file of this name with threads, device and the names of the files that were there before."""
    seen = sorted(path.name for path in folder.iterdir())
    (folder / name).write_text(f"{torch.get_num_threads()} {PartialState().device} {','.join(seen)}", encoding="utf-8")


def note_or_end(folder: Path, name: str) -> None:
    """As `note`, but some names end otherwise."""
    if name == "refuses":
        raise InputError("no such thing")
    if name == "fails":
        raise ZeroDivisionError("by zero")
    if name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "sleeps":
        time.sleep(600)
    note(folder, name)
