"""A run's folder: metrics as they come, atomic checkpoints, exact resume. Safetensors and JSON only."""

import json
import os
import shutil
import warnings
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from dpo_notes.maths.errors import InputError

KEPT_CHECKPOINTS = 2
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # one full copy, however the model is sharded


class RunFolder:
    """Everything a training loop writes while it runs. With `path` None it writes nothing.

    `identity` says what the run is (its config, its data): a checkpoint of another identity is refused.
    """

    def __init__(self, path: str | Path | None, accelerator: Accelerator, *, identity: dict, resume: bool):
        self.path = None if path is None else Path(path)
        self.accelerator, self.identity = accelerator, identity
        if self.path is None:
            return
        if self.metrics_path.exists() and not resume:
            raise InputError(f"{self.path} holds a run already; resume it (--resume), or give another folder")
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self.checkpoints.mkdir(parents=True, exist_ok=True)

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
        for folder in self._saved() if self.path else []:
            step = self._load(folder, model, optimizer)
            if step is not None:
                break
        if self.path and self.accelerator.is_main_process and self.metrics_path.exists():
            self._keep_metrics_up_to(-1 if step is None else step)
        self.accelerator.wait_for_everyone()
        return step

    def write_row(self, row: dict[str, float]) -> dict[str, float]:
        """Append one row to metrics.jsonl, and return it."""
        if self.path and self.accelerator.is_main_process:
            with self.metrics_path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return row

    def save(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Save a checkpoint: written aside, then renamed, so that a checkpoint is whole or not there."""
        if self.path is None:
            return
        weights, state = get_state_dict(model, optimizer, options=WHOLE)
        if self.accelerator.is_main_process:
            with atomic_folder(self.checkpoints / f"step-{step:08d}") as folder:
                save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
                save_file(_flat(state["state"]), folder / "optimizer.safetensors")
                details = {"step": step, "identity": self.identity, "param_groups": state["param_groups"]}
                (folder / "state.json").write_text(json.dumps(details), encoding="utf-8")
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

    def _load(self, folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int | None:
        try:
            details = json.loads((folder / "state.json").read_text(encoding="utf-8"))
            weights = load_file(folder / "model.safetensors")
            state = _nested(load_file(folder / "optimizer.safetensors"))
        except (OSError, ValueError, SafetensorError) as error:
            warnings.warn(f"{folder} is damaged ({error}); going back to the checkpoint before it", stacklevel=3)
            return None
        for name, ours in self.identity.items():
            theirs = details["identity"].get(name)
            if theirs != ours:
                raise InputError(f"{folder} is of another run: its {name} is {theirs!r}, now {ours!r}")
        optimizer_state = {"state": state, "param_groups": details["param_groups"]}
        set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=optimizer_state, options=WHOLE)
        return details["step"]

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
    """`with atomic_folder(path) as folder:` fills a folder aside and puts it at `path` in one move when all went well."""

    def __init__(self, path: Path):
        self.path, self.aside = path, path.with_name(f".{path.name}.writing")

    def __enter__(self) -> Path:
        shutil.rmtree(self.aside, ignore_errors=True)
        self.aside.mkdir(parents=True)
        return self.aside

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            shutil.rmtree(self.aside, ignore_errors=True)
            return
        for file in self.aside.iterdir():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())
        shutil.rmtree(self.path, ignore_errors=True)
        os.replace(self.aside, self.path)


def _flat(state: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {
        f"{parameter}/{name}": tensor.contiguous()
        for parameter, entries in state.items()
        for name, tensor in entries.items()
    }


def _nested(flat: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    nested: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in flat.items():
        parameter, name = key.rsplit("/", 1)
        nested.setdefault(parameter, {})[name] = tensor
    return nested
