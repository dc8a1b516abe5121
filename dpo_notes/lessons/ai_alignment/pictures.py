"""The pictures of notebook 02: data and an `ax` in; the Axes out, or the artists that its explorers move."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer
from matplotlib.patches import Patch

from dpo_notes.maths.imitation import price_of_share
from dpo_notes.plots.runs import CHOSEN, MARGIN, REFERENCE, REJECTED, TRUTH, open_axes
from dpo_notes.worlds.finite.world import FiniteWorld
from dpo_notes.worlds.reviews.text_kinds import ANSWER_KINDS

KIND_LABELS = [f"{tone},\n{'right' if is_right else 'wrong'}" for tone, is_right in ANSWER_KINDS]
SHARES = torch.linspace(0.002, 0.6, 300, dtype=torch.float64)  # of wrong answers, where curves are drawn


def share_bars(
    ax: Axes,
    names: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    *,
    styles: Sequence[Mapping],
    samples: Mapping[str, int] | None = None,
) -> Axes:
    """Bars side by side: the share of each name in each of the series.

    series: shares by name, by the label of the series. styles: Matplotlib's, one for each. samples: how many texts a series
    was counted on, for bars of two standard errors; none where it is not given.
    """
    width = 0.8 / len(series)
    for place, ((label, shares), style) in enumerate(zip(series.items(), styles, strict=True)):
        heights = np.array([shares[name] for name in names])
        left = np.arange(len(names)) + (place - (len(series) - 1) / 2) * width
        count = (samples or {}).get(label)
        errors = None if count is None else 2 * np.sqrt(heights * (1 - heights) / count)
        ax.bar(left, heights, 0.9 * width, yerr=errors, label=label, capsize=2, ecolor=TRUTH, **style)
    ax.set_xticks(range(len(names)), names)
    ax.set_ylim(0, 1.2 * max(ax.dataLim.y1, 0.01))
    return _finish(ax, "share of the texts")


def candidate_bars(ax: Axes, names: Sequence[str], probabilities: Sequence[float], *, right: str) -> Axes:
    """Horizontal bars of the model's probabilities, likeliest on top; the right one is dark and named as such."""
    order = np.argsort(probabilities)
    colors = [TRUTH if names[i] == right else REFERENCE for i in order]
    bars = ax.barh([names[i] for i in order], [probabilities[i] for i in order], color=colors)
    ax.bar_label(bars, fmt="%.3f", padding=3, fontsize="small")
    ax.set_xlim(0, 1)
    ax.legend(
        handles=[Patch(color=TRUTH, label="right"), Patch(color=REFERENCE, label="wrong")],
        frameon=False,
        loc="center right",
    )
    ax.set_xlabel("probability")
    open_axes(ax)
    return ax


def landing_panel(ax: Axes, probs: torch.Tensor, world: FiniteWorld) -> Axes:
    """The probability of each kind of answer over the steps of a training, and where it belongs in the corpus.

    probs: (steps, kinds). Right kinds are drawn in one colour, wrong ones in another; the labels stand at their ends.
    """
    steps, shares = np.arange(1, len(probs) + 1), world.ref_log_probs.exp().tolist()
    height = -1.0
    for share, (tone, is_right), line in sorted(
        zip(shares, ANSWER_KINDS, probs.T.numpy(), strict=True), key=lambda k: k[0]
    ):
        ax.plot(steps, line, color=CHOSEN if is_right else REJECTED, linestyle="-" if is_right else "--")
        ax.hlines(share, 1, len(steps), color=REFERENCE, linestyle=":", linewidth=1)
        height = max(share, height + 0.024)  # so that no label covers the one below
        ax.text(len(steps) * 1.02, height, f"{tone}, {'right' if is_right else 'wrong'}", va="center", fontsize="small")
    ax.set_xlim(1, len(steps) * 1.25)
    ax.set_ylim(0, 0.36)
    ax.set_xlabel("step of gradient descent")
    return _finish(ax, "probability")


def price_panel(ax: Axes, data_share: float) -> Axes:
    """What imitation pays for each share of wrong answers, where the data has this share."""
    ax.plot(SHARES, price_curve(data_share), color=MARGIN)
    ax.axvline(data_share, color=REFERENCE, linestyle="--", label="share in the data")
    ax.set_xlabel("share of wrong answers in the policy")
    ax.set_xlim(0, 0.6)
    ax.set_ylim(0, 1.2)
    return _finish(ax, "extra imitation loss\n(nats an answer)")


def price_curve(data_share: float) -> torch.Tensor:
    """The price of each of SHARES, in nats an answer."""
    return price_of_share(torch.full_like(SHARES, data_share), SHARES)


def tilt_panel(
    ax: Axes, world: FiniteWorld, log_probs: torch.Tensor, *, rounds: int
) -> tuple[BarContainer, LineCollection]:
    """The reference beside the policy that imitates the chosen, and how high each bar can get whatever the rewards.

    log_probs: of the policy, after so many rounds. Returns what moves: the policy's bars and the ceilings.
    """
    kinds, reference = np.arange(len(ANSWER_KINDS)), world.ref_log_probs.exp().numpy()
    ax.bar(kinds - 0.2, reference, 0.38, color=REFERENCE, hatch="//", edgecolor="white", label="reference")
    bars = ax.bar(kinds + 0.2, log_probs.exp().numpy(), 0.38, color=CHOSEN, label="imitates the chosen")
    ceilings = LineCollection(ceiling_segments(world, rounds=rounds), colors=TRUTH, linewidths=2, label="ceiling")
    ax.add_collection(ceilings)
    ax.set_xticks(kinds, KIND_LABELS)
    ax.set_ylim(0, 1.05)
    _finish(ax, "probability")
    legend_above(ax, columns=3)
    return bars, ceilings


def ceiling_segments(world: FiniteWorld, *, rounds: int) -> list:
    """Short lines at the probability that each kind would have if it always won: that of one in 2^rounds draws."""
    highest = 1 - (1 - world.ref_log_probs.exp()) ** (2**rounds)
    return [[(kind, height), (kind + 0.4, height)] for kind, height in enumerate(highest.tolist())]


def legend_above(ax: Axes, *, columns: int) -> Axes:
    """The legend above the axes, where nothing that moves can meet it."""
    ax.legend(
        frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderaxespad=0.2
    )
    return ax


def _finish(ax: Axes, ylabel: str) -> Axes:
    ax.set_ylabel(ylabel)
    open_axes(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    return ax
