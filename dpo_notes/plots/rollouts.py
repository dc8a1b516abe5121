"""Pictures of training on the policy's own responses: the reward, its price in KL, and the language."""

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dpo_notes.maths.rows import Rows
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, finish, kl_panel, metric_line, speech_panel


def objective_panel(ax: Axes, rows: Rows) -> Axes:
    """The reward of each round's responses, and the objective: the reward minus beta times the KL."""
    metric_line(ax, rows, "reward", label="reward", color=POLICY)
    metric_line(ax, rows, "objective", label="reward − beta KL", color=MARGIN, linestyle="--")
    return finish(ax, "reward of a round")


def price_panel(ax: Axes, rows: Rows) -> Axes:
    """The KL from the reference: on held-out prompts with its error, and, paler, on each round's responses."""
    metric_line(ax, rows, "kl", label="of a round, by k1", color=POLICY, alpha=0.4)
    return kl_panel(ax, rows)


def entropy_panel(ax: Axes, rows: Rows) -> Axes:
    """The mean entropy of the next token; 0 for a policy that always says the same."""
    metric_line(ax, rows, "entropy", label="entropy", color=POLICY)
    return finish(ax, "nats a token")


def length_panel(ax: Axes, rows: Rows) -> Axes:
    """Tokens a response: a reward that adds up over words favours long responses."""
    metric_line(ax, rows, "length", label="of a round", color=POLICY, alpha=0.4)
    metric_line(ax, rows, "eval/length", label="held out", color=POLICY, marker=".")
    return finish(ax, "tokens a response")


def steps_panel(ax: Axes, rows: Rows) -> Axes:
    """The variance of the returns that the value function explains, and the share of tokens clipped (PPO only)."""
    metric_line(ax, rows, "explained", label="variance of returns foreseen", color=POLICY)
    metric_line(ax, rows, "clip_fraction", label="tokens clipped", color=REFERENCE, linestyle="--")
    ax.set_ylim(-0.5, 1)
    return finish(ax, "share")


def rollout_curves(rows: Rows, *, title: str) -> Figure:
    """Six panels of one run: objective, KL, what the policy says, entropy, length, and the steps themselves."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)  # outside pyplot: no window, and nothing to close
    panels = (objective_panel, price_panel, speech_panel, entropy_panel, length_panel, steps_panel)
    for ax, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
        panel(ax, rows).set_xlabel("round")
    figure.suptitle(title)
    return figure
