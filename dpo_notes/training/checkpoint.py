"""A run's folder: metrics as they come, atomic checkpoints, exact resume. Safetensors and JSON only."""

import hashlib
import json
import math
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from dpo_notes.maths.errors import InputError
from dpo_notes.training.claim import claim
from dpo_notes.training.identity import differences
from dpo_notes.training.step import TrainingDiverged

KEPT_CHECKPOINTS = 2
TENSORS, DETAILS = "state.safetensors", "state.json"
DAMAGE = (OSError, ValueError, KeyError, SafetensorError)  # what reading half a checkpoint may raise


class RunFolder:
    """Everything a training loop writes while it runs. With `path` None it writes nothing.

    `identity` says what the run is (`identity.py`): a checkpoint of another one is refused. Without `resume` the folder
    must not hold a run; with it, no other process may be training there, nor may one come while this object lives.
    Raises InputError for either, and for a folder that cannot be written.
    """

    def __init__(self, path: str | Path | None, accelerator: Accelerator, *, identity: dict, resume: bool):
        self.path = None if path is None else Path(path)
        self.accelerator, self.identity = accelerator, identity
        if self.path is None:
            return
        if resume:
            self._refuse_another_run()
            if not self.metrics_path.exists() and not self._saved() and accelerator.is_main_process:
                warnings.warn(f"{self.path} holds no run yet; one begins there", stacklevel=2)
        elif self.metrics_path.exists() or self._saved():
            raise self._taken()
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self._take(resume=resume)

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoint"

    def restore(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        """Load the newest whole checkpoint into model and optimizer; the step it was taken after, None if there is none.

        A damaged checkpoint is told and passed over for the one before it. Later rows of the metrics are dropped.
        """
        step = None
        saved = self._saved() if self.path else []
        for folder in saved:
            step = self._load(folder, model, optimizer)
            if step is not None:
                break
        if saved and step is None:
            warnings.warn(f"{self.checkpoints}: no checkpoint is whole; training begins anew", stacklevel=2)
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
        tensors = {}
        for name, parameter in self._parameters(model):
            state = {"weight": parameter.detach(), **optimizer.state.get(parameter, {})}
            tensors |= {f"{name}/{key}": tensor.cpu().contiguous() for key, tensor in state.items()}
        if self.accelerator.is_main_process:
            with atomic_folder(self.checkpoints / f"step-{step:08d}") as folder:
                save_file(tensors, folder / TENSORS)
                details = {"identity": self.identity, "sha256": _sha256(folder / TENSORS)}
                (folder / DETAILS).write_text(json.dumps(details), encoding="utf-8")
            for old in self._saved()[KEPT_CHECKPOINTS:]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def save_model(self, model: torch.nn.Module, tokenizer) -> None:
        """Save the finished model as `model/`, in the Hugging Face layout, tokenizer and all."""
        if self.path is None:
            return
        weights = self.accelerator.get_state_dict(model)
        if self.accelerator.is_main_process:
            with atomic_folder(self.path / "model") as folder:
                self.accelerator.unwrap_model(model).save_pretrained(folder, state_dict=weights)
                tokenizer.save_pretrained(folder)
        self.accelerator.wait_for_everyone()

    def _saved(self) -> list[Path]:
        return sorted(self.checkpoints.glob("step-*"), reverse=True)

    def _parameters(self, model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Names and parameters, tied ones once; what the optimizer knows of them is all that training changes."""
        return self.accelerator.unwrap_model(model).named_parameters()

    def _refuse_another_run(self) -> None:
        for folder in self._saved():
            try:
                theirs = _details(folder)["identity"]
            except DAMAGE:
                continue  # `restore` tells
            if found := differences(theirs, json.loads(json.dumps(self.identity))):
                raise InputError(
                    f"{folder} is of another run: {'; '.join(found)}; expected the same, or another folder"
                )

    def _load(self, folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        try:
            step, details = int(folder.name.removeprefix("step-")), _details(folder)
            if details["sha256"] != _sha256(folder / TENSORS):
                raise ValueError(f"{TENSORS} is not what was written")
            tensors = load_file(folder / TENSORS)
        except DAMAGE as error:
            warnings.warn(f"{folder} is damaged ({error}) and passed over", stacklevel=3)
            return None
        for name, parameter in self._parameters(model):
            prefix = f"{name}/"
            state = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
            with torch.no_grad():
                parameter.copy_(state.pop("weight"))
            if state:
                # A copy: what still lies in its file keeps Windows from deleting that.
                optimizer.state[parameter] = {key: t.to(parameter.device, copy=True) for key, t in state.items()}
        return step

    def _take(self, *, resume: bool) -> None:
        """Make the folder, keep other processes out of it, and without `resume` be the first run in it."""
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            self._claim = claim(self.checkpoints)  # held for as long as this object lives
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

    def _taken(self) -> InputError:
        return InputError(f"{self.path} holds a run already; resume it (--resume), or give another folder")

    def _keep_metrics_up_to(self, step: int) -> None:
        kept = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # the line that was being written when the run was stopped
                break
            if row["step"] <= step:
                kept.append(line + "\n")
        aside = self.metrics_path.with_suffix(".writing")
        aside.write_text("".join(kept), encoding="utf-8")
        os.replace(aside, self.metrics_path)


class atomic_folder:
    """`with atomic_folder(path) as folder:` fills a folder aside and puts it at `path` in one move when all went well.

    Raises OSError where the disk does not take it; nothing is left aside then.
    """

    def __init__(self, path: Path):
        self.path, self.aside = path, path.with_name(f".{path.name}.writing")

    def __enter__(self) -> Path:
        shutil.rmtree(self.aside, ignore_errors=True)
        self.aside.mkdir(parents=True)
        return self.aside

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            shutil.rmtree(self.aside, ignore_errors=True)
            if isinstance(error, SafetensorError):  # its own way to say that a disk is full, among others
                raise OSError(f"{self.path}: {error}") from error
            return
        for file in self.aside.rglob("*"):
            if file.is_file():
                with file.open("rb+") as opened:
                    os.fsync(opened.fileno())
        shutil.rmtree(self.path, ignore_errors=True)
        os.replace(self.aside, self.path)


def _details(folder: Path) -> dict:
    return json.loads((folder / DETAILS).read_text(encoding="utf-8"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
