"""Small DPO runs in processes of their own: what they start from, how they die, and what they leave behind."""

import dataclasses
import json
import os
import signal
from pathlib import Path

from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.language.pairs import load_pairs
from dpo_notes.training import checkpoint
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.step import OptimizerStep

FAST = {"learning_rate": 1e-3, "warmup_fraction": 0.0, "eval_samples": 0}  # fast to learn, fast to run


def without_speed(rows: list[dict]) -> list[dict]:
    """The rows without the one metric that depends on the machine's day."""
    return [{name: value for name, value in row.items() if not name.endswith("_per_second")} for row in rows]


def rows_in(run: Path) -> list[dict]:
    """The rows of metrics.jsonl of a run folder, without speed."""
    return without_speed([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()])


def prepare(folder: Path, model, tokenizer, pairs) -> Path:
    """Put what a run starts from into the folder, for `train_from`."""
    model.save_pretrained(folder / "start")
    tokenizer.save_pretrained(folder / "start")
    lines = [json.dumps(dataclasses.asdict(pair)) + "\n" for pair in pairs]
    (folder / "pairs.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def train_from(folder: Path, name: str, *, resume: bool = False, last_row: int | None = None, **settings) -> list[dict]:
    """Train from what `prepare` left, into folder/name, up to `last_row` where given; the rows."""
    policy, tokenizer = load_model(folder / "start")
    pairs = load_pairs(folder / "pairs.jsonl")
    rows = []
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


def train_and_be_killed(folder: Path, name: str, death: str, call: int, **settings) -> None:
    """`train_from`, but at the given call of the function that `death` names the process kills itself, as kill -9 does."""
    owner, attribute, last_act = DEATHS[death]
    original, calls = getattr(owner, attribute), []

    def mortal(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == call:
            last_act(original, *arguments, **keywords)
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **keywords)

    setattr(owner, attribute, mortal)
    train_from(folder, name, resume=True, **settings)


def _nothing(original, *arguments, **keywords) -> None:
    pass


def _half_a_file(original, tensors, path) -> None:
    original(tensors, path)
    os.truncate(path, path.stat().st_size // 2)


def _half_a_row(original, folder, row) -> None:
    with folder.metrics_path.open("a") as file:
        file.write(json.dumps(row)[:40])


DEATHS = {  # where a process may die: owner and name of the function, and what it still does of its work
    "before an update of the weights": (OptimizerStep, "_update", _nothing),
    "half a row written": (checkpoint.RunFolder, "write_row", _half_a_row),
    "half a checkpoint written": (checkpoint, "save_file", _half_a_file),
    "a checkpoint written, not yet in its place": (checkpoint.atomic_folder, "__exit__", _nothing),
    "before the model is saved": (checkpoint.RunFolder, "save_model", _nothing),
}
