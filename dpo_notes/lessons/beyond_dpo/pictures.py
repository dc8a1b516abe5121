"""The pictures of notebook 12: the family of losses, and our training beside TRL's."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_notes.lessons.beyond_dpo.loss_gallery import GALLERY, scaled
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, open_axes
from dpo_notes.teaching.picture import new_figure
from dpo_notes.worlds.finite.two_answers import leading_margin

REWARDS = torch.linspace(-4, 8, 241, dtype=torch.float64)  # beta * margin: the axis of every picture of the family
COLUMNS = 5


def family_picture(*, beta: float = 1.0, preference: float = 0.8) -> Figure:
    """A panel for each loss of the GALLERY: the loss of a sure label, DPO's behind it, and the margin where it ends."""
    rows = -(-len(GALLERY) // COLUMNS)
    figure = new_figure(11, 1.75 * rows)
    axes = figure.subplots(rows, COLUMNS, sharex=True, sharey=True).flat
    for ax, name in zip(axes, GALLERY, strict=False):
        family_panel(ax, name, beta=beta, preference=preference)
    for ax in axes[len(GALLERY) :]:
        ax.set_axis_off()
    figure.supxlabel("beta x margin (nats)")
    figure.supylabel("loss of a sure label, scaled")
    return figure


def family_panel(ax: Axes, name: str, *, beta: float, preference: float) -> Axes:
    """One loss: its curve for a sure label, DPO's as a dotted line, and below, a mark where preference p ends."""
    ax.plot(REWARDS, scaled("dpo", REWARDS, beta=beta, preference=1.0)[0], ":", color=REFERENCE)
    ax.plot(REWARDS, scaled(name, REWARDS, beta=beta, preference=1.0)[0], color=POLICY)
    goal = beta * leading_margin(GALLERY[name], beta=beta, preference=preference)
    beyond = goal > REWARDS[-1]
    ax.plot([min(goal, REWARDS[-1].item() - 0.3)], [-2.6], ">" if beyond else "^", color=MARGIN, clip_on=False)
    ax.set(xlim=(-4, 8), ylim=(-2.6, 4))
    ax.set_title(f"{name} → {'∞' if goal == float('inf') else f'{goal:.2f}'}", fontsize="medium")
    open_axes(ax)
    return ax


def twin_curves(rows: Sequence[Mapping[str, float]], names: Mapping[str, str]) -> Figure:
    """A panel for each metric of a side-by-side run: ours as a line, TRL's as crosses on it.

    rows: with "ours/NAME" and "trl/NAME" for each of the names. names: the title of each metric's panel.
    """
    figure = new_figure(11, 2.8)
    steps = [row["step"] for row in rows]
    for ax, (name, title) in zip(figure.subplots(1, len(names), squeeze=False)[0], names.items(), strict=True):
        ax.plot(steps, [row[f"ours/{name}"] for row in rows], color=POLICY, label="dpo_notes")
        ax.plot(steps, [row[f"trl/{name}"] for row in rows], "x", color=REFERENCE, markersize=5, label="TRL")
        ax.set(xlabel="step", title=title)
        ax.title.set_fontsize("medium")
        open_axes(ax)
    figure.axes[0].legend(frameon=False, fontsize="small")
    return figure
