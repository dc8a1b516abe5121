"""What pictures of DPO runs take from their rows: points, trailing means, changes since the start, axis limits."""

import math
from collections.abc import Sequence

from dpo_notes.maths.rows import Rows

Points = tuple[list[float], list[float]]  # steps and values

WIDTH = 10  # steps in a trailing mean


def points(rows: Rows, name: str) -> Points:
    """(steps, values) of one metric, from the rows that have it."""
    found = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in found], [value for _, value in found]


def trailing_mean(line: Points, *, width: int = WIDTH) -> Points:
    """The mean of each value and the ones before it, at most `width` values in all.

    Known value: 1, 2, 3, 4 with a width of 2 are 1, 1.5, 2.5, 3.5.
    """
    steps, values = line
    windows = [values[max(0, end - width) : end] for end in range(1, len(values) + 1)]
    return steps, [sum(window) / len(window) for window in windows]


def since_start(line: Points) -> Points:
    """Each value minus the first one."""
    steps, values = line
    return steps, [value - values[0] for value in values]


def curves(rows: Rows) -> dict[str, Points]:
    """The lines of a run: loss and margin of each batch, their trailing means, and measures of held-out pairs.

    "loss", "loss mean", "margin", "margin mean"; "chosen", "rejected": the change of the held-out log-probabilities, in
    nats; "accuracy": of held-out pairs, without step 0, where all rewards are equal.
    """
    loss, margin = points(rows, "loss"), points(rows, "rewards/margins")
    trained = [row for row in rows if row["step"] > 0]
    return {
        "loss": loss,
        "loss mean": trailing_mean(loss),
        "margin": margin,
        "margin mean": trailing_mean(margin),
        "chosen": since_start(points(rows, "eval/logps/chosen")),
        "rejected": since_start(points(rows, "eval/logps/rejected")),
        "accuracy": points(trained, "eval/rewards/accuracies"),
    }


def room_for(values: Sequence[float], *, home: tuple[float, float], now: tuple[float, float]) -> tuple[float, float]:
    """Axis limits that include `home` and every finite value: `now` if it does, else with a third to spare.

    Known value: 1.5 with home and now at (0, 1) needs (0, 2).
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = min([home[0], *finite]), max([home[1], *finite])
    if now[0] <= low and high <= now[1]:
        return now
    spare = (high - low) / 3
    return (low if low == home[0] else low - spare), (high if high == home[1] else high + spare)
