"""The pictures of notebook 10: four panels of a live run, tokens during a run, and runs that went wrong."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpo_notes.lessons.training_gpt2_with_dpo.run_curves import curves, room_for
from dpo_notes.lessons.training_gpt2_with_dpo.snapshots import Snapshots
from dpo_notes.maths.rows import Rows
from dpo_notes.plots.runs import CHOSEN, MARGIN, POLICY, REFERENCE, REJECTED, TRUTH, open_axes
from dpo_notes.teaching.picture import new_figure
from dpo_notes.teaching.tokens import drawable

TITLES = {
    "loss": "loss of a batch (nats)",
    "margin": "margin of a batch (nats)",
    "logps": "held out: change of log π (nats)",
    "accuracy": "held out: accuracy",
}
HOMES = {"loss": (0.45, 0.85), "margin": (-0.3, 1.0), "logps": (-0.6, 0.3), "accuracy": (0.4, 1.0)}
LINES = {  # by curve: its panel and its looks
    "loss": ("loss", {"color": POLICY, "alpha": 0.3}),
    "loss mean": ("loss", {"color": POLICY, "linewidth": 2, "label": "this run"}),
    "margin": ("margin", {"color": MARGIN, "alpha": 0.3}),
    "margin mean": ("margin", {"color": MARGIN, "linewidth": 2, "label": "this run"}),
    "chosen": ("logps", {"color": CHOSEN, "marker": ".", "label": "chosen"}),
    "rejected": ("logps", {"color": REJECTED, "marker": "x", "label": "rejected"}),
    "accuracy": ("accuracy", {"color": POLICY, "marker": ".", "label": "this run"}),
}


def run_panels(
    figure: Figure, *, steps: int, beside: Rows = (), best: float | None = None
) -> tuple[dict[str, Axes], dict[str, Line2D]]:
    """(axes by panel, lines by curve): four panels for a run of `steps` steps, with lines that are still empty.

    beside: the rows of another run, in grey. best: the best possible held-out accuracy. The limits include HOMES and
    the other run.
    """
    axes = dict(zip(TITLES, figure.subplots(1, len(TITLES)), strict=True))
    other, lines = curves(beside), {}
    held = {panel: list(home) for panel, home in HOMES.items()}
    for name, (panel, looks) in LINES.items():
        if beside and "alpha" not in looks:
            grey = {"color": REFERENCE, "alpha": 0.6, "marker": looks.get("marker")}
            axes[panel].plot(*other[name], label=None if panel == "logps" else "the run above", **grey)
            held[panel] += other[name][1]
        (lines[name],) = axes[panel].plot([], [], **looks)
    axes["loss"].axhline(math.log(2), color=REFERENCE, linestyle=":", label="log 2")
    if best is not None:
        axes["accuracy"].axhline(best, color=TRUTH, linestyle="--", label="best possible")
    for panel, ax in axes.items():
        ax.set(xlim=(0, steps), xlabel="optimizer step")
        ax.set_ylim(room_for(held[panel], home=HOMES[panel], now=HOMES[panel]))
        ax.set_title(TITLES[panel], fontsize="medium")
        ax.legend(frameon=False, fontsize="small", loc="lower left" if panel in ("loss", "logps") else "upper left")
    open_axes(*axes.values())
    return axes, lines


def sick_runs(runs: Mapping[str, Rows]) -> Figure:
    """A column for each run: its loss, the change of both held-out log-probabilities, and held-out accuracy."""
    figure = new_figure(12, 6)
    panels = figure.subplots(3, len(runs), squeeze=False)
    for column, (name, rows) in zip(panels.T.tolist(), runs.items(), strict=True):
        sick_column(column, rows)
        column[0].set_title(name)
        column[-1].set_xlabel("optimizer step")
    for ax, words in zip(panels[:, 0], ("loss (nats)", "change of log π", "accuracy"), strict=True):
        ax.set_ylabel(words)
    panels[0, 0].legend(frameon=False, fontsize="small")
    panels[1, 0].legend(frameon=False, fontsize="small")
    return figure


def sick_column(axes: list[Axes], rows: Rows) -> list[Axes]:
    """Loss, change of the held-out log-probabilities, and held-out accuracy, each with a line to compare it with."""
    loss, logps, accuracy = axes
    drawn = curves(rows)
    looks = [row for row in rows if "eval/loss" in row]
    loss.plot(*drawn["loss mean"], color=POLICY, label="training")
    loss.plot([row["step"] for row in looks], [row["eval/loss"] for row in looks], "s", color=TRUTH, label="held out")
    loss.axhline(math.log(2), color=REFERENCE, linestyle=":", label="log 2")
    logps.plot(*drawn["chosen"], color=CHOSEN, marker=".", label="chosen")
    logps.plot(*drawn["rejected"], color=REJECTED, marker="x", label="rejected")
    logps.axhline(0, color=REFERENCE, linestyle=":")
    accuracy.plot(*drawn["accuracy"], color=POLICY, marker=".")
    accuracy.axhline(0.5, color=REFERENCE, linestyle=":")
    accuracy.set(xlim=loss.get_xlim(), ylim=(0, 1))
    open_axes(*axes)
    return list(axes)


def token_bars(snapshots: Snapshots, *, number: int, steps: Sequence[int]) -> Figure:
    """The log-ratio of each token of one comparison, chosen above rejected: a bar for each step, the last darkest."""
    figure = new_figure(12, 4.6)
    taken = [snapshot for snapshot in snapshots.taken if snapshot.step in steps]
    width, most = 0.8 / len(taken), max(map(len, snapshots.words[number]))
    axes = figure.subplots(2, 1, sharey=True)
    sides = zip(("chosen", "rejected"), (CHOSEN, REJECTED), snapshots.words[number], axes, strict=True)
    for side, color, words, ax in sides:
        for place, snapshot in enumerate(taken):
            x = [token + (place + 0.5) * width - 0.4 for token in range(len(words))]
            looks = {"color": color, "alpha": (place + 1) / len(taken), "label": f"step {snapshot.step}"}
            ax.bar(x, getattr(snapshot, side)[number].tolist(), width, **looks)
        ax.axhline(0, color=REFERENCE, linewidth=0.8)
        ax.set_xticks(range(len(words)), [drawable(word) for word in words], rotation=45, ha="right", parse_math=False)
        ax.tick_params(axis="x", length=0)
        ax.set(xlim=(-0.6, most - 0.4), ylabel=f"{side} (nats)")
        ax.legend(frameon=False, fontsize="small", ncols=len(taken))
        open_axes(ax)
    return figure
