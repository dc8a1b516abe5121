"""What each of the two processes of test_processes.py does: whole runs, one of them stopped and resumed, or a command.

With more words than a folder they are those of `dpo-notes`, and the process dies before its fourth update.
"""

import sys
from pathlib import Path

from runs import die_at, train_from

from dpo_notes.cli import main

SETTINGS = {"epochs": 2, "eval_samples": 4, "checkpoint_every": 2}
SPLIT = {"batch_size": 2, "accumulation_steps": 2}  # in two processes: 8 pairs a step

if __name__ == "__main__":
    folder, *words = sys.argv[1:]
    if words:
        die_at("before an update of the weights", 4)
        sys.exit(main(words))
    train_from(Path(folder), "two processes", **SPLIT, **SETTINGS)
    train_from(Path(folder), "two processes, stopped", last_row=3, **SPLIT, **SETTINGS)
    train_from(Path(folder), "two processes, stopped", resume=True, **SPLIT, **SETTINGS)
