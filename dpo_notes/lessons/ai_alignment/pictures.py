"""The pictures of notebook 02: data and an `ax` in; the Axes out, or the artists that its explorers move."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer
from matplotlib.patches import Patch

from dpo_notes.maths.imitation import price_of_share
from dpo_notes.plots.runs import CHOSEN, MARGIN, REFERENCE, REJECTED, TRUTH, finish, open_axes
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

    series: shares by name, by the label of the series. styles: Matplotlib's, one for each. samples: the number of texts
    behind a series, for bars of two standard errors; a series without one has no bars.
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
    return finish(ax, "share of the texts", xlabel="")


def candidate_bars(ax: Axes, names: Sequence[str], probabilities: Sequence[float], *, right: str) -> Axes:
    """Horizontal bars of the model's probabilities, the likeliest on top; the right one is dark."""
    order = np.argsort(probabilities)
    colors = [TRUTH if names[i] == right else REFERENCE for i in order]
    bars = ax.barh([names[i] for i in order], [probabilities[i] for i in order], color=colors)
    ax.bar_label(bars, fmt="%.3f", padding=3, fontsize="small")
    ax.set_xlim(0, 1)
    handles = [Patch(color=TRUTH, label="right"), Patch(color=REFERENCE, label="wrong")]
    ax.legend(handles=handles, frameon=False, loc="center right")
    ax.set_xlabel("probability")
    open_axes(ax)
    return ax


def landing_panel(ax: Axes, probs: torch.Tensor, world: FiniteWorld) -> Axes:
    """The probability of each kind of answer over the steps of training, and its share in the corpus.

    probs: (steps, kinds). Right kinds have one colour, wrong kinds another; the labels are at the ends of the lines.
    """
    steps, shares = np.arange(1, len(probs) + 1), world.ref_log_probs.exp().tolist()
    height = -1.0
    kinds = sorted(zip(shares, ANSWER_KINDS, probs.T.numpy(), strict=True), key=lambda kind: kind[0])
    for share, (tone, is_right), line in kinds:
        ax.plot(steps, line, color=CHOSEN if is_right else REJECTED, linestyle="-" if is_right else "--")
        ax.hlines(share, 1, len(steps), color=REFERENCE, linestyle=":", linewidth=1)
        height = max(share, height + 0.024)  # so that no label covers the one below
        ax.text(len(steps) * 1.02, height, f"{tone}, {'right' if is_right else 'wrong'}", va="center", fontsize="small")
    ax.set_xlim(1, len(steps) * 1.25)
    ax.set_ylim(0, 0.36)
    return finish(ax, "probability", xlabel="step of gradient descent")


def price_panel(ax: Axes, data_share: float) -> Axes:
    """The extra imitation loss of a policy over its share of wrong answers; `data_share` is that of the data."""
    ax.plot(SHARES, price_curve(data_share), color=MARGIN)
    ax.axvline(data_share, color=REFERENCE, linestyle="--", label="share in the data")
    ax.set_xlim(0, 0.6)
    ax.set_ylim(0, 1.2)
    return finish(ax, "extra imitation loss\n(nats an answer)", xlabel="share of wrong answers in the policy")


def price_curve(data_share: float) -> torch.Tensor:
    """The extra imitation loss at each of SHARES, in nats an answer."""
    return price_of_share(torch.full_like(SHARES, data_share), SHARES)


def tilt_panel(
    ax: Axes, world: FiniteWorld, log_probs: torch.Tensor, *, rounds: int
) -> tuple[BarContainer, LineCollection]:
    """The reference beside the policy that imitates the chosen, and the highest that each bar can get with any rewards.

    log_probs: of the policy, after `rounds` rounds. Returns what moves: the policy's bars and the ceilings.
    """
    kinds, reference = np.arange(len(ANSWER_KINDS)), world.ref_log_probs.exp().numpy()
    ax.bar(kinds - 0.2, reference, 0.38, color=REFERENCE, hatch="//", edgecolor="white", label="reference")
    bars = ax.bar(kinds + 0.2, log_probs.exp().numpy(), 0.38, color=CHOSEN, label="imitates the chosen")
    ceilings = LineCollection(ceiling_segments(world, rounds=rounds), colors=TRUTH, linewidths=2, label="ceiling")
    ax.add_collection(ceilings)
    ax.set_xticks(kinds, KIND_LABELS)
    ax.set_ylim(0, 1.05)
    finish(ax, "probability", xlabel="")
    legend_above(ax, columns=3)
    return bars, ceilings


def ceiling_segments(world: FiniteWorld, *, rounds: int) -> list:
    """Short lines at the probability of each kind if it always won: that of at least one in 2^rounds draws."""
    highest = 1 - (1 - world.ref_log_probs.exp()) ** (2**rounds)
    return [[(kind, height), (kind + 0.4, height)] for kind, height in enumerate(highest.tolist())]


def legend_above(ax: Axes, *, columns: int) -> Axes:
    """The legend above the axes, out of the way of what moves."""
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2}
    ax.legend(frameon=False, fontsize="small", ncols=columns, **place)
    return ax
