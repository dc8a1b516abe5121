"""The pictures of notebook 06: data and an `ax` in; the Axes out, or the artists that its explorers move."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_nll, preference_probability
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, TRUTH, metric_line, open_axes

WIDEST = 6.0  # margins are drawn from -WIDEST to WIDEST, in nats
MARGINS = torch.linspace(-WIDEST, WIDEST, 241, dtype=torch.float64)
STANDARD_ERRORS = 2  # either side of a fitted reward: about 95%
ABOVE = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2, "borderaxespad": 0.2}


def preferred(margins: Tensor) -> Tensor:
    """Probability that the chosen response is preferred, at each margin."""
    return preference_probability(margins, torch.zeros_like(margins))


def loss(margins: Tensor) -> Tensor:
    """Loss of a pair at each margin, in nats."""
    return preference_nll(margins, torch.zeros_like(margins))


def slope(margins: Tensor) -> Tensor:
    """Slope of that loss in the margin: minus the probability of the other choice."""
    return -preferred(-margins)


CURVES = {"probability of the choice": preferred, "loss (nats)": loss, "slope of the loss": slope}


def margin_panel(ax: Axes, title: str) -> Axes:
    """One of CURVES over the margin."""
    ax.axvline(0, color=REFERENCE, linewidth=0.8, linestyle=":")
    ax.plot(MARGINS, CURVES[title](MARGINS), color=MARGIN)
    ax.set(title=title, xlabel="margin (nats)", xlim=(-WIDEST, WIDEST))
    open_axes(ax)
    return ax


class FittedRewards(NamedTuple):
    """What moves in `tournament_panel`: the fitted rewards and their bars."""

    points: Line2D
    bars: LineCollection

    def show(self, rewards: Float[Tensor, " items"], errors: Float[Tensor, " items"]) -> None:
        """Move points and bars to these rewards and standard errors; the axes cut them off at the edges."""
        rows = range(len(rewards))
        self.points.set_data(rewards.tolist(), list(rows))
        ends = zip(
            (rewards - STANDARD_ERRORS * errors).tolist(),
            (rewards + STANDARD_ERRORS * errors).tolist(),
            rows,
            strict=True,
        )
        self.bars.set_segments([[(low, row), (high, row)] for low, high, row in ends])

    def hide(self) -> None:
        self.points.set_data([], [])
        self.bars.set_segments([])


def tournament_panel(ax: Axes, names: Sequence[str], truth: Float[Tensor, " items"]) -> FittedRewards:
    """Rewards of items, the best first: the true ones as ticks, and the fitted ones, still hidden."""
    rows = range(len(names))
    ax.plot(truth, rows, "|", color=TRUTH, markersize=16, markeredgewidth=2.5, label="true reward")
    bars = LineCollection([], colors=POLICY, linewidths=2, label="fitted, two standard errors")
    ax.add_collection(bars)
    (points,) = ax.plot([], [], "o", color=POLICY)
    ax.set(yticks=rows, yticklabels=names, xlabel="reward (nats)", xlim=(-4, 4), ylim=(len(names) - 0.4, -0.6))
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, fontsize="small", **ABOVE)
    open_axes(ax)
    return FittedRewards(points, bars)


def preference_bars(
    ax: Axes, pairs: Sequence[str], raters: Float[Tensor, " pairs"], fit: Float[Tensor, " pairs"]
) -> list[BarContainer]:
    """How often the first of each pair is preferred, by the raters and by a fit. Returns the bars, which may move."""
    places = np.arange(len(pairs))
    styles = {"color": TRUTH, "label": "raters"}, {"color": POLICY, "hatch": "//", "edgecolor": "white", "label": "fit"}
    drawn = [
        ax.bar(places + shift, heights.tolist(), 0.36, **style)
        for shift, heights, style in zip((-0.2, 0.2), (raters, fit), styles, strict=True)
    ]
    ax.axhline(0.5, color=REFERENCE, linestyle=":")
    ax.set_xticks(places, pairs)
    ax.set(ylim=(0, 1.02), ylabel="probability of the first")
    ax.legend(frameon=False, fontsize="small", **ABOVE)
    open_axes(ax)
    return drawn


def learning_panel(ax: Axes, rows: Sequence[Mapping[str, float]], *, best: float, block: int = 10) -> Axes:
    """The training loss of a reward model, averaged over each `block` batches, and the least possible loss."""
    blocks = [rows[start : start + block] for start in range(0, len(rows), block)]
    means = [{"step": part[-1]["step"], "loss": sum(row["loss"] for row in part) / len(part)} for part in blocks]
    metric_line(ax, means, "loss", label=f"mean of {block} batches", color=POLICY, marker=".")
    ax.axhline(math.log(2), color=REFERENCE, linestyle=":", label="log 2: knows nothing")
    ax.axhline(best, color=TRUTH, linestyle="--", label="least possible")
    ax.set(xlabel="optimizer step", ylabel="loss (nats)", ylim=(best - 0.06, math.log(2) + 0.06))
    ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    open_axes(ax)
    return ax
