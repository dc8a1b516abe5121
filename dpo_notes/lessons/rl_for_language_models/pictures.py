"""The pictures of notebook 04: a policy's answers during training, in four panels."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dpo_notes.maths.rows import Rows
from dpo_notes.plots.runs import POLICY, REFERENCE, metric_line, open_axes
from dpo_notes.teaching.picture import new_figure

PANELS = {
    "reward": "reward (nats)",
    "grammatical": "share grammatical",
    "distinct": "different words, share",
    "kl": "KL from the reference (nats)",
}
STYLES = (  # of the runs; the last one is the policy in question
    {"color": REFERENCE, "linestyle": ":"},
    {"color": REFERENCE, "linestyle": "-."},
    {"color": REFERENCE, "linestyle": "--"},
    {"color": POLICY, "linestyle": "-"},
)


def speech_curves(runs: Mapping[str, Rows], *, steps: int) -> Figure:
    """Four panels over the steps of up to four runs: reward, grammar, variety of words, KL.

    runs: the rows of `Overheard.beside` by the run's name; the last one has the policy's colour. steps: the end of the
    axes, so that a picture drawn during training keeps its frame.
    """
    figure = new_figure(11, 2.8)
    for ax, name in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        speech_panel(ax, runs, name)
        ax.set_xlim(0, steps)
    return figure


def speech_panel(ax: Axes, runs: Mapping[str, Rows], name: str) -> Axes:
    """One metric of the runs over their steps; the first panel, reward, also has the legend."""
    for (label, rows), style in zip(runs.items(), STYLES[-len(runs) :], strict=True):
        metric_line(ax, rows, name, label=label, **style)
    ax.set(xlabel="step", title=PANELS[name])
    ax.title.set_fontsize("medium")
    if name in ("grammatical", "distinct"):
        ax.set_ylim(-0.03, 1.03)
    if name == "reward":
        ax.legend(frameon=False, fontsize="small")
    open_axes(ax)
    return ax
