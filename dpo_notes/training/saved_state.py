"""A checkpoint on disk: weights and optimizer state after one step, in a folder that is complete or does not exist.

Its name is `step-` and eight digits. We write and remove only its two files. The checksum detects damage, not forgery:
anybody who can write into the folder can also compute a checksum.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dpo_notes.maths.errors import InputError
from dpo_notes.training.folder_marker import sha256
from dpo_notes.training.output_folder import sync

TENSORS, DETAILS = "state.safetensors", "state.json"
NAME = re.compile(r"step-(\d{8})", re.ASCII)
ASIDE = re.compile(r"\.step-\d{8}\.writing", re.ASCII)
LARGEST_DETAILS = 1_000_000  # bytes; a few thousand are written
ADAM = ("step", "exp_avg", "exp_avg_sq")  # AdamW's state of a parameter: number of updates, and two moments

Named = Iterable[tuple[str, torch.nn.Parameter]]


class Damaged(ValueError):
    """A checkpoint is not what we wrote. The message says in one line how it differs."""


@dataclass(frozen=True)
class Details:
    """What we save beside the tensors: the step, the run's identity, the number of tensors, and their file's sha256."""

    step: int
    identity: dict
    tensors: int
    sha256: str


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first, damaged ones included; other names are ignored."""
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(names, reverse=True) if NAME.fullmatch(name)]


def check_checkpoints(folder: Path) -> None:
    """Raise InputError if a folder named like a checkpoint holds anything but our two files."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected the checkpoints of a run: move it away")
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        if NAME.fullmatch(name) or ASIDE.fullmatch(name):
            _check_ours(folder / name)


def write_checkpoint(place: Path, tensors: Mapping[str, Tensor], *, step: int, identity: dict) -> None:
    """Save a checkpoint atomically: write and flush it under another name, then move it into place.

    Raises OSError if writing fails, and then leaves nothing behind.
    """
    aside = place.with_name(f".{place.name}.writing")
    remove_checkpoint(aside)
    aside.mkdir()
    try:
        save_file(dict(tensors), aside / TENSORS)
        details = Details(step, identity, len(tensors), sha256(aside / TENSORS))
        (aside / DETAILS).write_text(json.dumps(vars(details)), encoding="utf-8")
        sync(aside)
        _move(aside, place)
    except SafetensorError as error:  # what safetensors raises for a full disk, among others
        raise OSError(f"{place}: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_checkpoint(place: Path) -> None:
    """Remove a checkpoint if it exists. Raises InputError if it holds anything but our two files."""
    if not os.path.lexists(place):
        return
    _check_ours(place)
    for file in sorted(place.iterdir()):
        file.unlink()
    place.rmdir()


def read_details(place: Path) -> Details:
    """The details of a checkpoint. Raises Damaged if they are not what we write."""
    path = place / DETAILS
    try:
        if path.stat().st_size > LARGEST_DETAILS:
            raise Damaged(f"{DETAILS} has {path.stat().st_size:,} bytes; expected at most {LARGEST_DETAILS:,}")
        details = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Damaged(f"{DETAILS}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"{DETAILS} is not JSON that we wrote") from error
    for name, kind in Details.__annotations__.items():
        if not isinstance(details, dict) or type(details.get(name)) is not kind:
            raise Damaged(f"{DETAILS} has no valid {name!r}")
    return Details(**{name: details[name] for name in Details.__annotations__})


def read_tensors(place: Path, details: Details, *, last_step: int) -> dict[str, Tensor]:
    """The tensors of a checkpoint. Raises Damaged if file and details disagree, or the run has no such step."""
    named = int(place.name.removeprefix("step-"))
    if details.step != named:
        raise Damaged(f"{DETAILS} says step {str(details.step)[:20]}, but the folder's name says {named}")
    if not 1 <= named <= last_step:
        raise Damaged(f"it is from step {named}, but the run has the steps 1 to {last_step}")
    try:
        if sha256(place / TENSORS) != details.sha256:
            raise Damaged(f"{TENSORS} is not what we wrote")
        tensors = load_file(place / TENSORS)
    except OSError as error:
        raise Damaged(f"{TENSORS}: {error.strerror}") from error
    except SafetensorError as error:
        raise Damaged(f"{TENSORS} is not a file of tensors") from error
    if len(tensors) != details.tensors:
        raise Damaged(f"{TENSORS} holds {len(tensors)} tensors, but {DETAILS} says {details.tensors}")
    return tensors


def state_tensors(parameters: Named, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every weight and its optimizer state as "name/weight", "name/exp_avg" and so on, on the CPU."""
    tensors = {}
    for name, parameter in parameters:
        state = {"weight": parameter.detach(), **optimizer.state.get(parameter, {})}
        tensors |= {f"{name}/{key}": tensor.cpu().contiguous() for key, tensor in state.items()}
    return tensors


def load_state(tensors: dict[str, Tensor], parameters: Named, optimizer: torch.optim.Optimizer) -> None:
    """Copy the tensors into parameters and optimizer. Raises Damaged, changing neither, if a tensor does not fit."""
    parameters = list(parameters)
    _check_state(tensors, parameters)
    for name, parameter in parameters:
        with torch.no_grad():
            parameter.copy_(tensors[f"{name}/weight"])
        if f"{name}/{ADAM[0]}" in tensors:
            # A copy: while a tensor is mapped to its file, Windows cannot delete that file.
            state = {key: tensors[f"{name}/{key}"].to(parameter.device, copy=True) for key in ADAM}
            optimizer.state[parameter] = state


def _check_state(tensors: Mapping[str, Tensor], parameters: Named) -> None:
    """Check that every parameter has its weight and all or none of its Adam state, and that there is nothing else."""
    left = set(tensors)
    for name, parameter in parameters:
        trained = any(f"{name}/{key}" in left for key in ADAM)
        for key in ("weight", *ADAM) if trained else ("weight",):
            shape, dtype = tuple(parameter.shape), parameter.dtype
            if key == "step":
                shape, dtype = (), torch.float32
            tensor = tensors.get(f"{name}/{key}")
            if tensor is None:
                raise Damaged(f"{TENSORS} lacks {f'{name}/{key}'!r}")
            if tuple(tensor.shape) != shape or tensor.dtype != dtype:
                found = f"{tuple(tensor.shape)} of {tensor.dtype}"
                raise Damaged(f"{f'{name}/{key}'!r} is {found}; expected {shape} of {dtype}")
            left.discard(f"{name}/{key}")
    if left:
        raise Damaged(f"{TENSORS} holds {min(left)!r:.80}, which the model does not have")


def _check_ours(place: Path) -> None:
    if place.is_symlink() or not place.is_dir():
        raise InputError(f"{place} is not a checkpoint that dpo-notes wrote; expected a folder: move it away")
    for file in sorted(place.iterdir()):
        if file.name not in (TENSORS, DETAILS) or file.is_symlink() or not file.is_file():
            raise InputError(
                f"{file} is not a file that dpo-notes wrote; expected only {TENSORS} and {DETAILS} in a checkpoint: "
                "move it away"
            )


def _move(aside: Path, place: Path) -> None:
    remove_checkpoint(place)
    os.replace(aside, place)
