"""A run's folder: metrics after every step, atomic checkpoints, exact resume. Safetensors and JSON only."""

import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator

from dpo_notes.maths.errors import InputError
from dpo_notes.training.claim import claim
from dpo_notes.training.device import from_main_process
from dpo_notes.training.identity import differences, in_one_line
from dpo_notes.training.output_folder import atomic_folder, check_folder, check_replaceable, replaced_file, take_folder
from dpo_notes.training.saved_state import (
    Damaged,
    check_checkpoints,
    checkpoints_in,
    load_state,
    read_details,
    read_tensors,
    remove_checkpoint,
    state_tensors,
    write_checkpoint,
)
from dpo_notes.training.step import TrainingDiverged

KEPT_CHECKPOINTS = 2
MODEL = "a run's model"  # the maker of model/, which is always replaced as a whole


def check_run_folder(path: str | Path) -> Path:
    """The folder that `path` leads to, checked: a run may write there. Changes nothing.

    Raises InputError as `check_folder` does, and for anything in model/ or in a checkpoint that we did not write.
    """
    folder = check_folder(path, maker="run")
    check_replaceable(folder / "model", maker=MODEL)
    check_checkpoints(folder / "checkpoint")
    return folder


class RunFolder:
    """Writes everything that a training loop leaves on disk. With `path` None it writes nothing.

    `identity` describes the run (`identity.py`); a checkpoint of another run is refused. Without `resume`, the folder
    must not hold a run. While this object lives, no other process can train in the folder.
    Raises InputError, in all processes, if either fails, if the folder is not ours, and if we cannot write to it.
    """

    def __init__(self, path: str | Path | None, accelerator: Accelerator, *, identity: dict, resume: bool):
        self.path = None if path is None else Path(path)
        self.accelerator, self.identity = accelerator, identity
        if self.path is not None:
            self.path = Path(from_main_process(lambda: str(self._take(resume=resume))))

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, last_step: int) -> int | None:
        """Load the newest intact checkpoint into model and optimizer; returns its step, or None if there is none.

        `last_step`: of the run. If a checkpoint is damaged, we warn and use the one before it; nothing from the damaged
        one reaches model or optimizer. Rows of the metrics after the returned step are dropped.
        """
        step = None
        saved = checkpoints_in(self.checkpoints) if self.path else []
        for folder in saved:
            try:
                details = read_details(folder)
                tensors = read_tensors(folder, details, last_step=last_step)
                load_state(tensors, self._parameters(model), optimizer)
            except Damaged as damage:
                self._warn(f"{folder} is damaged ({damage}); using the one before it")
                continue
            step = details.step
            break
        if saved and step is None:
            self._warn(f"{self.checkpoints}: no checkpoint is intact; training starts over")
        if self.path and self.accelerator.is_main_process and self.metrics_path.exists():
            self._keep_metrics_up_to(-1 if step is None else step)
        self.accelerator.wait_for_everyone()
        return step

    def write_row(self, row: dict[str, float]) -> dict[str, float]:
        """Append one row to metrics.jsonl, and return it. Raises TrainingDiverged if a loss in it is not finite."""
        for name in ("loss", "eval/loss"):
            if not math.isfinite(row.get(name, 0.0)):
                raise TrainingDiverged(f"step {row['step']}: {name} {row[name]}; nothing was saved after this step")
        if self.path and self.accelerator.is_main_process:
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Save a checkpoint, and remove all but the last two."""
        if self.path is None:
            return
        if self.accelerator.is_main_process:  # every process holds all of it, and one copy on the host is enough
            tensors = state_tensors(self._parameters(model), optimizer)
            place = self.checkpoints / f"step-{step:08d}"
            write_checkpoint(place, tensors, step=step, identity=self.identity)
            for old in checkpoints_in(self.checkpoints)[KEPT_CHECKPOINTS:]:
                remove_checkpoint(old)
        self.accelerator.wait_for_everyone()

    def save_model(self, model: torch.nn.Module, tokenizer) -> None:
        """Save the finished model and its tokenizer as `model/`, in the Hugging Face layout."""
        if self.path is None:
            return
        weights = self.accelerator.get_state_dict(model)
        if self.accelerator.is_main_process:
            with atomic_folder(self.path / "model", maker=MODEL) as folder:
                self.accelerator.unwrap_model(model).save_pretrained(folder, state_dict=weights)
                tokenizer.save_pretrained(folder)
        self.accelerator.wait_for_everyone()

    def _parameters(self, model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Names and parameters, tied ones once. Training changes only these and their optimizer state."""
        return self.accelerator.unwrap_model(model).named_parameters()

    def _warn(self, message: str) -> None:
        if self.accelerator.is_main_process:
            warnings.warn(message, stacklevel=4)

    def _take(self, *, resume: bool) -> Path:
        """Create the folder, mark it as ours, and lock other processes out; without `resume` it must not hold a run."""
        self.path = check_run_folder(self.path)
        begun = self.metrics_path.exists() or bool(checkpoints_in(self.checkpoints))
        if begun and not resume:
            raise self._taken()
        self._refuse_another_run()
        if resume and not begun:
            self._warn(f"{self.path} holds no run yet; starting one there")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._claim = claim(self.path)  # until this object is gone
            take_folder(self.path, maker="run")
            self.checkpoints.mkdir(exist_ok=True)
            self.metrics_path.touch(exist_ok=resume)
        except BlockingIOError:
            raise InputError(
                f"{self.path}: another process is training there; wait until it ends, or give another folder"
            ) from None
        except FileExistsError:
            raise self._taken() from None
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}; expected a writable folder with room in it") from error
        return self.path

    def _refuse_another_run(self) -> None:
        for folder in checkpoints_in(self.checkpoints):
            try:
                theirs = read_details(folder).identity
            except Damaged:
                continue  # `restore` will warn
            if found := differences(theirs, json.loads(json.dumps(self.identity))):
                changed = in_one_line(found)
                raise InputError(f"{folder} is from another run: {changed}; expected the same, or another folder")

    def _taken(self) -> InputError:
        return InputError(f"{self.path} holds a run already; resume it (--resume), or give another folder")

    def _keep_metrics_up_to(self, step: int) -> None:
        """Drop rows of later steps, and lines that are not rows; warn unless it is only a half-written last line."""
        lines = self.metrics_path.read_bytes().splitlines()
        steps = [_step_of(line) for line in lines]
        unread = [number for number, found in enumerate(steps[:-1], start=1) if found is None]
        if unread:
            self._warn(
                f"{self.metrics_path}, line {unread[0]}: not a row of metrics; dropping all such ({len(unread)})"
            )
        kept = [line + b"\n" for line, found in zip(lines, steps, strict=True) if found is not None and found <= step]
        with replaced_file(self.metrics_path) as aside:
            aside.write_bytes(b"".join(kept))


def _step_of(line: bytes) -> float | None:
    """The step of a row of metrics; None if the line is not a row."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if type(step) in (int, float) else None
