"""Pictures of training on the policy's own responses: the reward, its price in KL, and what became of the language."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dpo_notes.maths.rows import Rows
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, kl_panel, metric_line, open_axes, speech_panel


def objective_panel(ax: Axes, rows: Rows) -> Axes:
    """The reward of each round's responses, and the objective: what is left of it once the KL is paid for."""
    metric_line(ax, rows, "reward", label="reward", color=POLICY)
    metric_line(ax, rows, "objective", label="reward − beta KL", color=MARGIN, linestyle="--")
    return _finish(ax, "reward of a round")


def price_panel(ax: Axes, rows: Rows) -> Axes:
    """The KL from the reference: on held-out prompts with its error, and behind it that of each round's responses."""
    metric_line(ax, rows, "kl", label="of a round, by k1", color=POLICY, alpha=0.4)
    return kl_panel(ax, rows)


def entropy_panel(ax: Axes, rows: Rows) -> Axes:
    """How open the next token is, on average: a policy that says one thing only has none."""
    metric_line(ax, rows, "entropy", label="entropy", color=POLICY)
    return _finish(ax, "nats a token")


def length_panel(ax: Axes, rows: Rows) -> Axes:
    """Tokens a response: a reward that adds up over words invites long ones."""
    metric_line(ax, rows, "length", label="of a round", color=POLICY, alpha=0.4)
    metric_line(ax, rows, "eval/length", label="held out", color=POLICY, marker=".")
    return _finish(ax, "tokens a response")


def steps_panel(ax: Axes, rows: Rows) -> Axes:
    """How well the value function foresees returns, and how many tokens are clipped; REINFORCE has neither."""
    metric_line(ax, rows, "explained", label="variance of returns foreseen", color=POLICY)
    metric_line(ax, rows, "clip_fraction", label="tokens clipped", color=REFERENCE, linestyle="--")
    ax.set_ylim(-0.5, 1)
    return _finish(ax, "share")


def rollout_curves(rows: Rows, *, title: str) -> Figure:
    """Six panels of one run: objective, KL, what the policy says, entropy, length, and the steps themselves."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)  # outside pyplot: no window, and nothing to close
    panels = (objective_panel, price_panel, speech_panel, entropy_panel, length_panel, steps_panel)
    for ax, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
        panel(ax, rows).set_xlabel("round")
    figure.suptitle(title)
    return figure


def _finish(ax: Axes, ylabel: str) -> Axes:
    ax.set_xlabel("round")
    ax.set_ylabel(ylabel)
    open_axes(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    return ax
