"""The pictures of notebook 05: data and an `ax` in; the artists that its explorers move, or the Axes, out."""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D
from torch import Tensor

from dpo_notes.maths.agreement import choice_agreement, right_order_by_one, right_order_by_two, score_agreement
from dpo_notes.plots.runs import CHOSEN, REFERENCE, TRUTH, open_axes

RATER_STYLES = (  # distinct marks and lines
    {"marker": "o", "linestyle": "-"},
    {"marker": "s", "linestyle": "--"},
    {"marker": "^", "linestyle": "-."},
    {"marker": "D", "linestyle": ":"},
)
MEASURES = (  # from top to bottom: the label, and whether it is about choices
    ("two raters:\ncorrelation of scores", False),
    ("two raters:\nsame choice", True),
    ("two raters' scores:\nbetter one is higher", False),
    ("one rater's choice:\nbetter one is chosen", True),
)


def score_lines(
    ax: Axes, reward: Float[Tensor, " responses"], scores: Float[Tensor, "raters responses"]
) -> list[Line2D]:
    """A line for each rater, up to four, over the responses from worst to best, and the true reward in black.

    Returns the raters' lines, which move. reward: in ascending order.
    """
    places = range(1, len(reward) + 1)
    lines = [
        ax.plot(places, row, color=REFERENCE, markersize=6, label=f"rater {letter}", **style)[0]
        for letter, row, style in zip("ABCD", scores, RATER_STYLES, strict=True)
    ]
    ax.plot(places, reward, color=TRUTH, linewidth=3, alpha=0.8, label="true reward")
    ax.set(xlabel="response, from the worst to the best", ylabel="score", xticks=places)
    open_axes(ax)
    ax.legend(frameon=False, fontsize="small", ncols=5, loc="lower left", bbox_to_anchor=(-0.02, 1), columnspacing=1)
    return lines


def agreements(scores: Float[Tensor, "raters responses"], reward: Float[Tensor, " responses"]) -> list[float]:
    """The four MEASURES in their order, each at most 1."""
    of_scores, of_choices = score_agreement(scores), choice_agreement(scores)
    right = right_order_by_two(scores, reward), right_order_by_one(scores, reward)
    return [value.item() for value in (of_scores, of_choices, *right)]


def agreement_bars(ax: Axes, values: Sequence[float]) -> BarContainer:
    """A bar for each of MEASURES: hatched grey for scores, blue for choices. Returns the bars, which move."""
    bars = ax.barh(range(len(MEASURES)), values, 0.6)
    for bar, (_, of_choices) in zip(bars, MEASURES, strict=True):
        bar.set(color=CHOSEN) if of_choices else bar.set(facecolor="white", edgecolor=REFERENCE, hatch="///")
    ax.axvline(0.5, color=TRUTH, linestyle=":", linewidth=1)
    ax.text(0.51, -0.85, "a coin", va="center", fontsize="small")
    ax.set(xlim=(0, 1.12), ylim=(len(MEASURES) - 0.5, -1.0), xticks=[0, 0.25, 0.5, 0.75, 1])
    ax.set_yticks(range(len(MEASURES)), [words for words, _ in MEASURES], fontsize="small")
    open_axes(ax)
    return bars


def loss_curves(ax: Axes, losses: Mapping[str, Callable[[Tensor], Tensor]]) -> Axes:
    """Up to three losses of a pair over its margin.

    losses: functions from margins to losses, by name. The sides of 0 are drawn separately, so that a jump stays a gap.
    """
    styles = ({"linestyle": "-"}, {"linestyle": "--"}, {"linestyle": ":"})
    for (name, loss), style in zip(losses.items(), styles, strict=False):
        for side, label in ((torch.linspace(-3, -1e-6, 200), name), (torch.linspace(1e-6, 4, 200), None)):
            ax.plot(side, loss(side.double()), color=TRUTH, label=label, linewidth=2, **style)
    ax.axvline(0, color=REFERENCE, linewidth=0.6)
    ax.set(xlim=(-3, 4), ylim=(-0.1, 4), ylabel="loss of the pair")
    ax.set_xlabel("margin: reward chosen minus reward rejected")
    open_axes(ax)
    ax.legend(frameon=False)
    return ax
