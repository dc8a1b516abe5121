"""What a learner sees first: the log of a short run, without the name of its fault."""

from dataclasses import dataclass
from string import ascii_uppercase

import torch

from dpo_notes.lessons.computing_log_probabilities.zoo.faults import FAULTS, Fault
from dpo_notes.lessons.computing_log_probabilities.zoo.right import RIGHT
from dpo_notes.lessons.computing_log_probabilities.zoo.runs import STEPS, Run, trained

SHUFFLE = 9  # seed of the specimens' order
COLUMNS = {  # as a log prints them
    "loss": "loss",
    "margin": "rewards/margins",
    "accuracy": "rewards/accuracies",
    "chosen": "logps/chosen",
    "rejected": "logps/rejected",
    "grad_norm": "grad_norm",
}


def specimens() -> dict[str, Fault]:
    """The faults by letter, "A" onwards, in an order drawn once."""
    order = torch.randperm(len(FAULTS), generator=torch.Generator().manual_seed(SHUFFLE)).tolist()
    return {letter: FAULTS[number] for letter, number in zip(ascii_uppercase, order, strict=False)}


def letter_of(title: str) -> str:
    """The letter of the fault with this title."""
    return next(letter for letter, fault in specimens().items() if fault.title == title)


def run_of(fault: Fault | None) -> Run:
    """The short run of a fault, or of the right code for None."""
    return trained(RIGHT, side="right") if fault is None else trained(fault.pipeline, side=fault.side)


def loss_falls(fault: Fault | None) -> bool:
    """Whether the last loss of the short run is below the first, by more than 0.01 nats."""
    rows = run_of(fault).rows
    return rows[-1]["loss"] < rows[0]["loss"] - 0.01


@dataclass(frozen=True)
class Log:
    """Four steps of a run as its log prints them, without what the right code measures."""

    name: str
    run: Run

    def __str__(self) -> str:
        lines = [f"{self.name:>12} " + "".join(f"{word:>11}" for word in COLUMNS)]
        for row in self.run.rows[:: STEPS // 3]:
            lines.append(f"{'step':>9} {row['step']:2} " + "".join(f"{row[key]:11.3f}" for key in COLUMNS.values()))
        return "\n".join(lines)


def log_of(letter: str) -> Log:
    """The log of the specimen with this letter, or of the right code for "right"."""
    if letter == "right":
        return Log("right code", run_of(None))
    return Log(f"specimen {letter}", run_of(specimens()[letter]))
