"""The reward-KL frontier as a picture: what each method gained, its KL, and whether it still writes grammatically."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dpo_notes.plots.runs import CHOSEN, POLICY, REFERENCE, TRUTH, open_axes

LEARNT = "#E69F00"  # for a reward learnt from comparisons; Okabe and Ito's last colour that shows on white

# Method: (label, colour, marker). The colour says what a method learns from: comparisons, chosen responses, the true
# reward or a learnt one. The marker tells methods of one colour apart, and all of them without colour.
METHODS = {
    "dpo": ("DPO, by beta", POLICY, "o"),
    "sft": ("SFT on the chosen, by epochs", CHOSEN, "s"),
    "ppo-learnt": ("reward model + PPO, by beta", LEARNT, "^"),
    "ppo-true": ("PPO on the true reward, by beta", TRUTH, "^"),
    "best-of-n-learnt": ("best-of-n by the reward model, by n", LEARNT, "D"),
    "best-of-n": ("best-of-n by the true reward, by n", TRUTH, "D"),
}

ASIDE = {"o": (-9, 8), "s": (9, -7), "^": (-10, 8), "D": (12, 1)}  # from a marker to its strength, in points

Record = Mapping[str, Any]
Point = Mapping[str, Any]


def seed_means(points: Sequence[Point], method: str) -> list[dict[str, float]]:
    """Means over the seeds of a method, one entry for each strength, in ascending order.

    Keys: "value", "seeds", "kl", "reward", "grammatical", for DPO the held-out "margin", and "kl_error" and
    "reward_error", the standard errors of those means from sampling responses: sqrt(sum of squares) / seeds. The noise
    of training itself shows in the spread of the seeds.
    """
    by_value: dict[float, list[Point]] = {}
    for point in points:
        if point["method"] == method:
            by_value.setdefault(point["value"], []).append(point)
    return [_mean(value, by_value[value]) for value in sorted(by_value)]


def frontier_panel(ax: Axes, record: Record) -> Axes:
    """True reward against KL: a mark for each strength (mean over seeds, bars of two standard errors), a dot a seed.

    The first and the last strength of each method are written beside its line. The black line is the optimal policy,
    estimated by weighting samples of the base model; the cross is the base model.
    """
    curve, base = record["optimum"], _base(record)
    kl, reward = ([base[name], *_column(curve, name)] for name in ("kl", "reward"))
    label = f"optimal policy, estimated from {record['optimum_samples']} samples a prompt"
    ax.plot(kl, reward, color=TRUTH, label=label)
    for means, style in _drawn_methods(record):
        kl, reward = _column(means, "kl"), _column(means, "reward")
        xerr, yerr = ([2 * error for error in _column(means, name)] for name in ("kl_error", "reward_error"))
        ax.errorbar(kl, reward, xerr=xerr, yerr=yerr, elinewidth=1, capsize=2, **style)
        for x, y, strength in sorted({(kl[i], reward[i], means[i]["value"]) for i in (0, -1)}):
            aside = {"xytext": ASIDE[style["marker"]], "textcoords": "offset points", "ha": "center", "va": "center"}
            ax.annotate(f"{strength:g}", (x, y), color=style["color"], fontsize=8, **aside)
    _mark_seeds_and_base(ax, record, "reward")
    return _finish(ax, "true reward (nats)")


def grammar_panel(ax: Axes, record: Record) -> Axes:
    """The share of responses that the grammar could have written, which the reward does not see, against KL."""
    for means, style in _drawn_methods(record):
        ax.plot(_column(means, "kl"), _column(means, "grammatical"), **style)
    _mark_seeds_and_base(ax, record, "grammatical")
    return _finish(ax, "share grammatical")


def frontier_picture(record: Record) -> Figure:
    """Both panels side by side, over one legend."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    FigureCanvasAgg(figure)  # outside pyplot: no window, and nothing to close
    axes = figure.subplots(1, 2, width_ratios=[3, 2])
    frontier_panel(axes[0], record)
    grammar_panel(axes[1], record)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _mean(value: float, points: Sequence[Point]) -> dict[str, float]:
    seeds = len(points)
    names = [name for name in ("kl", "reward", "grammatical", "margin") if name in points[0]]
    mean = {name: sum(_column(points, name)) / seeds for name in names}
    for name in ("kl_error", "reward_error"):
        mean[name] = math.hypot(*_column(points, name)) / seeds
    return {"value": value, "seeds": seeds, **mean}


def _drawn_methods(record: Record) -> Iterator[tuple[list[dict[str, float]], dict[str, Any]]]:
    """(means over seeds, line style) of every method in the record."""
    for method, (label, color, marker) in METHODS.items():
        if means := seed_means(record["points"], method):
            yield means, {"label": label, "color": color, "marker": marker, "linewidth": 1}


def _mark_seeds_and_base(ax: Axes, record: Record, name: str) -> None:
    """A dot for every seed of every strength, and a cross for the base model."""
    for method, (_, color, _) in METHODS.items():
        points = [point for point in record["points"] if point["method"] == method]
        ax.plot(_column(points, "kl"), _column(points, name), color=color, linestyle="none", marker=".", alpha=0.5)
    base = _base(record)
    ax.plot(base["kl"], base[name], color=REFERENCE, marker="X", markersize=9, linestyle="none", label="base model")


def _base(record: Record) -> Point:
    (point,) = (point for point in record["points"] if point["method"] == "base")
    return point


def _column(points: Sequence[Point], name: str) -> list[float]:
    return [point[name] for point in points]


def kl_axis(ax: Axes) -> None:
    """KL along x on a square-root scale: near 0 an optimal policy's reward grows like the root of its KL, a line here.

    Call it after drawing, because it sets the ticks within the current limits.
    """
    ax.set_xscale("function", functions=(lambda x: np.sign(x) * np.sqrt(np.abs(x)), lambda x: np.sign(x) * x**2))
    low, high = ax.get_xlim()
    ticks = [tick for tick in (0, 0.1, 0.5, 1, 2, 4, 8, 16, 32, 64, 128) if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _finish(ax: Axes, ylabel: str) -> Axes:
    kl_axis(ax)
    ax.set_xlabel("KL from the base model (nats a response)")
    ax.set_ylabel(ylabel)
    open_axes(ax)
    return ax
