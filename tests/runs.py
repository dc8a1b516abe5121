"""Small DPO runs in processes of their own: what they start from, how they die, and what they leave behind."""

import dataclasses
import json
import os
import shlex
import signal
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from dpo_notes.cli import main
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.pairs.load import load_pairs
from dpo_notes.training import checkpoint, saved_state
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.output_folder import atomic_folder
from dpo_notes.training.step import OptimizerStep

FAST = {"learning_rate": 1e-3, "warmup_fraction": 0.0, "eval_samples": 0}  # fast to learn, fast to run


def without_speed(rows: list[dict]) -> list[dict]:
    """The rows without the metric that depends on the machine's load."""
    return [{name: value for name, value in row.items() if not name.endswith("_per_second")} for row in rows]


def rows_in(run: Path) -> list[dict]:
    """The rows of metrics.jsonl of a run folder, without speed."""
    return without_speed([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()])


def assert_same_end(one: Path, other: Path) -> None:
    """Assert that all rows without speed, the model, and the last checkpoint with Adam's moments agree bit for bit."""
    rows, last = rows_in(one), checkpoints_in(other)[-1]
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert rows == rows_in(other)
    for path in ("model/model.safetensors", f"checkpoint/{last}/state.safetensors"):
        ours, theirs = load_file(one / path), load_file(other / path)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def checkpoints_in(run: Path) -> list[str]:
    """The names in the checkpoint folder of a run, the newest last; in these tests all are intact checkpoints."""
    return sorted(path.name for path in (run / "checkpoint").iterdir())


def prepare(folder: Path, model, tokenizer, pairs) -> Path:
    """Write what a run starts from into the folder, for `train_from`."""
    save(model, tokenizer, folder / "start")
    write_pairs(folder / "pairs.jsonl", pairs)
    return folder


def save(model, tokenizer, folder: Path) -> Path:
    """Save model and tokenizer into the folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_pairs(path: Path, pairs) -> Path:
    """Write the pairs into a JSON Lines file."""
    return write_lines(path, map(dataclasses.asdict, pairs))


def write_lines(path: Path, rows) -> Path:
    """Write the rows into a JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def train_from(folder: Path, name: str, *, resume: bool = False, last_row: int | None = None, **settings) -> list[dict]:
    """Train from what `prepare` wrote, into folder/name, up to `last_row` if given; returns the rows."""
    policy, tokenizer = load_model(folder / "start")
    pairs = load_pairs(folder / "pairs.jsonl")
    rows = []
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".* is damaged")  # a kill leaves checkpoints intact
        for row in train_dpo(
            policy,
            frozen_copy(policy),
            pairs[:-8],
            tokenizer,
            DPOConfig(**FAST | settings),
            eval_pairs=pairs[-8:],
            output_dir=folder / name,
            resume=resume,
        ):
            rows.append(row)
            if row["step"] == last_row:
                break
    return rows


def train_by_command(output: Path, *words: object) -> None:
    """Run `dpo-notes train` with these words in this process and exit; all that it prints goes to the file `output`."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(main(["train", *map(str, words)]))


def words_to_go_on(printed: str) -> list[str]:
    """The words after `dpo-notes train` in the line that says how to continue."""
    command, *words = shlex.split(printed.rpartition("continue with: dpo-notes ")[2])
    assert (command, words[-1]) == ("train", "--resume")
    return words


def train_and_be_killed(folder: Path, name: str, death: str, call: int, **settings) -> None:
    """`train_from`, but the process dies at the given call of the function that `death` names."""
    die_at(death, call)
    train_from(folder, name, resume=True, **settings)


def die_at(death: str, call: int) -> None:
    """Make this process kill itself, as by kill -9, at the given call of the function that `death` names."""
    owner, attribute, last_act = DEATHS[death]
    original, calls = getattr(owner, attribute), []

    def mortal(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == call:
            last_act(original, *arguments, **keywords)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)

    setattr(owner, attribute, mortal)


def train_and_die_saving(folder: Path, name: str, change: int, **settings) -> None:
    """`train_from`, but killed just before the given change that saving checkpoints makes to files and folders.

    Changes are counted from 1 in each process. An audit hook sees all changes that Python makes.
    """
    save, saving, changes = checkpoint.RunFolder.save, [], []

    def watched(*arguments) -> None:
        saving.append(True)
        save(*arguments)
        saving.clear()

    def count(event: str, arguments: tuple) -> None:
        writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if saving and (writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")):
            changes.append(event)
            if len(changes) == change:
                os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.RunFolder.save = watched
    sys.addaudithook(count)
    train_from(folder, name, resume=True, **settings)


def _nothing(original, *arguments, **keywords) -> None:
    pass


def _half_a_file(original, tensors, path) -> None:
    original(tensors, path)
    _halve(path)


def _halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _half_a_text(original, path, text, **keywords) -> None:
    original(path, text[: len(text) // 2], **keywords)


def _half_a_model(original, model, folder, **keywords) -> None:
    original(model, folder, **keywords)
    _halve(folder / "model.safetensors")


def _half_a_row(original, folder, row) -> None:
    with folder.metrics_path.open("a") as file:
        file.write(json.dumps(row)[:40])


DEATHS = {  # where a process may die: owner and name of the function, and the part of its work that it still does
    "before an update of the weights": (OptimizerStep, "_update", _nothing),
    "half a row written": (checkpoint.RunFolder, "write_row", _half_a_row),
    "half a checkpoint written": (saved_state, "save_file", _half_a_file),
    "half a text file written": (Path, "write_text", _half_a_text),  # the metrics anew, or what a checkpoint is of
    "a checkpoint written, not yet in its place": (saved_state, "_move", _nothing),
    "the model written, not yet in its place": (atomic_folder, "__exit__", _nothing),
    "before the model is saved": (checkpoint.RunFolder, "save_model", _nothing),
    "half the model saved": (PreTrainedModel, "save_pretrained", _half_a_model),
}
