"""What each of the two processes of test_processes.py does: a run to its end, one that stops and is resumed, a command."""

import sys
from pathlib import Path

from runs import train_from

from dpo_notes.cli import main

SETTINGS = {"epochs": 2, "eval_samples": 4, "checkpoint_every": 2}
SPLIT = {"batch_size": 2, "accumulation_steps": 2}  # in two processes: 8 pairs a step

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    train_from(folder, "two processes", **SPLIT, **SETTINGS)
    train_from(folder, "two processes, stopped", last_row=3, **SPLIT, **SETTINGS)
    train_from(folder, "two processes, stopped", resume=True, **SPLIT, **SETTINGS)
    command = ["train", "--model", folder / "start", "--data", folder / "pairs.jsonl", "--output", folder / "command"]
    sys.exit(main([*map(str, command), "--set", "eval_samples=4", "--set", "max_length=96"]))
