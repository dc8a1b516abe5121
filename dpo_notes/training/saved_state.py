"""A checkpoint on disk: weights and the optimizer's state after one step, in a folder that is whole or not there.

Its name, `step-` and eight digits, says the step. Its two files are all that is ever written or removed there. The
checksum finds damage, not forgery: anybody who can write into the folder can also make a checksum.
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
ADAM = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a parameter: how many updates, and two means

Named = Iterable[tuple[str, torch.nn.Parameter]]


class Damaged(ValueError):
    """A checkpoint is not what was written. The message says in what, in one line."""


@dataclass(frozen=True)
class Details:
    """What stands beside the tensors: the step, what the run is, how many tensors there are, and their file's sha256."""

    step: int
    identity: dict
    tensors: int
    sha256: str


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, damaged ones included, the newest first. What has another name is none."""
    names = os.listdir(folder) if folder.is_dir() else []
    return [folder / name for name in sorted(names, reverse=True) if NAME.fullmatch(name)]


def check_checkpoints(folder: Path) -> None:
    """Raise InputError where something else than our two files stands under the name of a checkpoint."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is no folder; expected the checkpoints of a run: move it away")
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        if NAME.fullmatch(name) or ASIDE.fullmatch(name):
            _check_ours(folder / name)


def write_checkpoint(place: Path, tensors: Mapping[str, Tensor], *, step: int, identity: dict) -> None:
    """Save a checkpoint: written aside, then moved, so that it is whole or not there.

    Raises OSError where the disk does not take it; nothing is left aside then.
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
    except SafetensorError as error:  # its own way to say that a disk is full, among others
        raise OSError(f"{place}: {error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_checkpoint(place: Path) -> None:
    """Remove a checkpoint, where one is. Raises InputError where anything but our two files stands there."""
    if not os.path.lexists(place):
        return
    _check_ours(place)
    for file in sorted(place.iterdir()):
        file.unlink()
    place.rmdir()


def read_details(place: Path) -> Details:
    """What stands beside the tensors of a checkpoint. Raises Damaged where that is not what we write."""
    path = place / DETAILS
    try:
        if path.stat().st_size > LARGEST_DETAILS:
            raise Damaged(f"{DETAILS} has {path.stat().st_size:,} bytes; expected at most {LARGEST_DETAILS:,}")
        said = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Damaged(f"{DETAILS}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise error if isinstance(error, Damaged) else Damaged(f"{DETAILS} is no JSON text of ours") from error
    for name, kind in Details.__annotations__.items():
        if not isinstance(said, dict) or type(said.get(name)) is not kind:
            raise Damaged(f"{DETAILS} has no {name!r} of the kind that we write")
    return Details(**{name: said[name] for name in Details.__annotations__})


def read_tensors(place: Path, details: Details, *, last_step: int) -> dict[str, Tensor]:
    """The tensors of a checkpoint. Raises Damaged where file and details do not agree, or the run has no such step."""
    named = int(place.name.removeprefix("step-"))
    if details.step != named:
        raise Damaged(f"{DETAILS} says step {str(details.step)[:20]}, and the folder's name {named}")
    if not 1 <= named <= last_step:
        raise Damaged(f"it is of step {named}, and the run has the steps 1 to {last_step}")
    try:
        if sha256(place / TENSORS) != details.sha256:
            raise Damaged(f"{TENSORS} is not what was written")
        tensors = load_file(place / TENSORS)
    except OSError as error:
        raise Damaged(f"{TENSORS}: {error.strerror}") from error
    except SafetensorError as error:
        raise Damaged(f"{TENSORS} is no file of tensors") from error
    if len(tensors) != details.tensors:
        raise Damaged(f"{TENSORS} holds {len(tensors)} tensors, and {DETAILS} says {details.tensors}")
    return tensors


def state_tensors(parameters: Named, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every weight, and what the optimizer keeps of it, by "name/weight", "name/exp_avg" and so on, on the CPU."""
    tensors = {}
    for name, parameter in parameters:
        state = {"weight": parameter.detach(), **optimizer.state.get(parameter, {})}
        tensors |= {f"{name}/{key}": tensor.cpu().contiguous() for key, tensor in state.items()}
    return tensors


def load_state(tensors: dict[str, Tensor], parameters: Named, optimizer: torch.optim.Optimizer) -> None:
    """Copy the tensors into parameters and optimizer. Raises Damaged, with neither changed, where one does not fit."""
    parameters = list(parameters)
    _check_state(tensors, parameters)
    for name, parameter in parameters:
        with torch.no_grad():
            parameter.copy_(tensors[f"{name}/weight"])
        if f"{name}/{ADAM[0]}" in tensors:
            # A copy: what still lies in its file keeps Windows from deleting that.
            state = {key: tensors[f"{name}/{key}"].to(parameter.device, copy=True) for key in ADAM}
            optimizer.state[parameter] = state


def _check_state(tensors: Mapping[str, Tensor], parameters: Named) -> None:
    """Every parameter has its weight, and all or nothing of what Adam keeps of it; nothing else is there."""
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
        raise InputError(f"{place} is no checkpoint that dpo-notes wrote; expected a folder: move it away")
    for file in sorted(place.iterdir()):
        if file.name not in (TENSORS, DETAILS) or file.is_symlink() or not file.is_file():
            raise InputError(
                f"{file} is no file that dpo-notes wrote; expected {TENSORS} and {DETAILS} alone in a checkpoint: "
                "move it away"
            )


def _move(aside: Path, place: Path) -> None:
    remove_checkpoint(place)
    os.replace(aside, place)
