"""A run's folder: metrics as they come, atomic checkpoints, exact resume. Safetensors and JSON only."""

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
MODEL = "a run's model"  # the maker of model/, which is replaced as a whole


def check_run_folder(path: str | Path) -> Path:
    """The folder that `path` leads to, where a run may write all that it will; nothing is changed.

    Raises InputError where `check_folder` does, and for anything in model/ or in a checkpoint that we did not write.
    """
    folder = check_folder(path, maker="run")
    check_replaceable(folder / "model", maker=MODEL)
    check_checkpoints(folder / "checkpoint")
    return folder


class RunFolder:
    """Everything a training loop writes while it runs. With `path` None it writes nothing.

    `identity` says what the run is (`identity.py`): a checkpoint of another one is refused. Without `resume` the folder
    must not hold a run; with it, no other process may be training there, nor may one come while this object lives.
    Raises InputError for either, for a folder that is not ours, and for one that cannot be written: in all processes.
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
        """Load the newest whole checkpoint into model and optimizer; the step it was taken after, None if there is none.

        `last_step`: of the run; there is no checkpoint after it. If a checkpoint is damaged, we warn and use the one
        before it; neither model nor optimizer gets any of it. Later rows of the metrics are dropped.
        """
        step = None
        saved = checkpoints_in(self.checkpoints) if self.path else []
        for folder in saved:
            try:
                details = read_details(folder)
                tensors = read_tensors(folder, details, last_step=last_step)
                load_state(tensors, self._parameters(model), optimizer)
            except Damaged as damage:
                self._warn(f"{folder} is damaged ({damage}); the one before it is used")
                continue
            step = details.step
            break
        if saved and step is None:
            self._warn(f"{self.checkpoints}: no checkpoint is whole; training begins anew")
        if self.path and self.accelerator.is_main_process and self.metrics_path.exists():
            self._keep_metrics_up_to(-1 if step is None else step)
        self.accelerator.wait_for_everyone()
        return step

    def write_row(self, row: dict[str, float]) -> dict[str, float]:
        """Append one row to metrics.jsonl, and return it. Raises TrainingDiverged where a loss in it is not finite."""
        for name in ("loss", "eval/loss"):
            if not math.isfinite(row.get(name, 0.0)):
                raise TrainingDiverged(f"step {row['step']}: {name} {row[name]}; nothing was saved after this step")
        if self.path and self.accelerator.is_main_process:
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Save a checkpoint: written aside, then renamed, so that a checkpoint is whole or not there."""
        if self.path is None:
            return
        tensors = state_tensors(self._parameters(model), optimizer)
        if self.accelerator.is_main_process:
            place = self.checkpoints / f"step-{step:08d}"
            write_checkpoint(place, tensors, step=step, identity=self.identity)
            for old in checkpoints_in(self.checkpoints)[KEPT_CHECKPOINTS:]:
                remove_checkpoint(old)
        self.accelerator.wait_for_everyone()

    def save_model(self, model: torch.nn.Module, tokenizer) -> None:
        """Save the finished model as `model/`, in the Hugging Face layout, tokenizer and all."""
        if self.path is None:
            return
        weights = self.accelerator.get_state_dict(model)
        if self.accelerator.is_main_process:
            with atomic_folder(self.path / "model", maker=MODEL) as folder:
                self.accelerator.unwrap_model(model).save_pretrained(folder, state_dict=weights)
                tokenizer.save_pretrained(folder)
        self.accelerator.wait_for_everyone()

    def _parameters(self, model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Names and parameters, tied ones once; what the optimizer knows of them is all that training changes."""
        return self.accelerator.unwrap_model(model).named_parameters()

    def _warn(self, message: str) -> None:
        if self.accelerator.is_main_process:
            warnings.warn(message, stacklevel=4)

    def _take(self, *, resume: bool) -> Path:
        """The folder, made and marked as ours, with other processes kept out of it; without `resume` the first run in it."""
        self.path = check_run_folder(self.path)
        begun = self.metrics_path.exists() or bool(checkpoints_in(self.checkpoints))
        if begun and not resume:
            raise self._taken()
        self._refuse_another_run()
        if resume and not begun:
            self._warn(f"{self.path} holds no run yet; one begins there")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._claim = claim(self.path)  # held for as long as this object lives
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
            raise InputError(
                f"{self.path}: {error.strerror}; expected a folder that can be written, with room in it"
            ) from error
        return self.path

    def _refuse_another_run(self) -> None:
        for folder in checkpoints_in(self.checkpoints):
            try:
                theirs = read_details(folder).identity
            except Damaged:
                continue  # `restore` tells
            if found := differences(theirs, json.loads(json.dumps(self.identity))):
                raise InputError(
                    f"{folder} is of another run: {in_one_line(found)}; expected the same, or another folder"
                )

    def _taken(self) -> InputError:
        return InputError(f"{self.path} holds a run already; resume it (--resume), or give another folder")

    def _keep_metrics_up_to(self, step: int) -> None:
        """Drop the rows of later steps, and lines that are no rows; only one that was being written goes without a word."""
        lines = self.metrics_path.read_bytes().splitlines()
        steps = [_step_of(line) for line in lines]
        unread = [number for number, found in enumerate(steps[:-1], start=1) if found is None]
        if unread:
            self._warn(
                f"{self.metrics_path}, line {unread[0]}: no row of metrics; such lines ({len(unread)}) are dropped"
            )
        kept = [line + b"\n" for line, found in zip(lines, steps, strict=True) if found is not None and found <= step]
        with replaced_file(self.metrics_path) as aside:
            aside.write_bytes(b"".join(kept))


def _step_of(line: bytes) -> float | None:
    """The step of a row of metrics; None for a line that is none."""
    try:
        row = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    step = row.get("step") if isinstance(row, dict) else None
    return step if type(step) in (int, float) else None
