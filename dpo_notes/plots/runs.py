"""Pictures: data and an `ax` in, the Axes out. One colour has one meaning in the whole project."""

import math
from collections.abc import Iterable

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dpo_notes.maths.calibration import Reliability
from dpo_notes.maths.rows import Rows

# Okabe and Ito's palette, which can be told apart without colour vision.
CHOSEN, REJECTED, POLICY, REFERENCE, MARGIN, TRUTH = "#0072B2", "#D55E00", "#009E73", "#666666", "#CC79A7", "#000000"


def open_axes(*axes: Axes) -> None:
    """Hide the top and right edges, which carry no information."""
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def set_heights(bars: Iterable[Patch], heights: Iterable[float]) -> None:
    """Give each bar its height."""
    for bar, height in zip(bars, heights, strict=True):
        bar.set_height(height)


def metric_line(ax: Axes, rows: Rows, name: str, *, label: str, color: str, **style) -> Axes:
    """One metric over the steps of the rows that have it; a single value is drawn as a point."""
    points = [(row["step"], row[name]) for row in rows if name in row]
    if len(points) == 1:
        style["marker"] = "o"
    ax.plot(*zip(*points, strict=True) if points else ([], []), label=label, color=color, **style)
    return ax


def loss_panel(ax: Axes, rows: Rows, *, best: float | None = None) -> Axes:
    """Training loss, held-out loss, log 2, where every run begins, and the least possible loss if it is known."""
    metric_line(ax, rows, "loss", label="training", color=POLICY, alpha=0.4)
    metric_line(ax, rows, "eval/loss", label="held out", color=POLICY, marker=".")
    if best is not None:
        ax.axhline(best, color=TRUTH, linestyle="--", label="least possible")
    ax.axhline(math.log(2), color=REFERENCE, linestyle=":", label="log 2: knows nothing")
    return finish(ax, "loss (nats)")


def reward_panel(ax: Axes, rows: Rows) -> Axes:
    """Implicit rewards of the held-out chosen and rejected responses, and their margin."""
    prefix = _prefix(rows)
    metric_line(ax, rows, prefix + "rewards/chosen", label="chosen", color=CHOSEN, marker=".")
    metric_line(ax, rows, prefix + "rewards/rejected", label="rejected", color=REJECTED, marker="x")
    metric_line(ax, rows, prefix + "rewards/margins", label="margin", color=MARGIN, linestyle="--")
    return finish(ax, "implicit reward (nats)")


def accuracy_panel(ax: Axes, rows: Rows, *, best: float | None = None, label: str = "policy") -> Axes:
    """Share of held-out pairs whose chosen response has the higher reward, and the best possible share if known."""
    prefix = _prefix(rows)
    trained = [row for row in rows if row["step"] > 0]  # before training all rewards are equal
    metric_line(ax, trained, prefix + "rewards/accuracies", label=label, color=POLICY, marker=".")
    if best is not None:
        ax.axhline(best, color=TRUTH, linestyle="--", label="best possible")
    ax.axhline(0.5, color=REFERENCE, linestyle=":", label="guessing")
    ax.set_ylim(0.4, 1.0)
    return finish(ax, "accuracy")


def reliability_panel(ax: Axes, diagram: Reliability) -> Axes:
    """How often the predicted response was chosen, against its probability; a calibrated model is on the diagonal.

    The bars are two standard errors of a calibrated prediction, cut at 0 and 1; above each stands its number of pairs.
    """
    ax.plot([0.5, 1], [0.5, 1], color=REFERENCE, linestyle=":", label="calibrated")
    kept = diagram.counts > 0
    predicted, observed, counts = (values[kept] for values in diagram)
    error = 2 * (predicted * (1 - predicted) / counts).sqrt()
    bars = torch.stack([error.minimum(observed), error.minimum(1 - observed)])
    ax.errorbar(predicted, observed, bars, label="held out", color=POLICY, marker=".", linestyle="", capsize=2)
    for x, count in zip(predicted.tolist(), counts.tolist(), strict=True):
        ax.annotate(str(count), (x, 1.04), ha="center", fontsize="x-small")
    ax.set_ylim(0, 1.1)
    return finish(ax, "share chosen", xlabel="predicted probability")


def logps_panel(ax: Axes, rows: Rows) -> Axes:
    """Log-probabilities of held-out chosen and rejected responses: both may fall while the margin grows."""
    prefix = _prefix(rows)
    metric_line(ax, rows, prefix + "logps/chosen", label="chosen", color=CHOSEN, marker=".")
    metric_line(ax, rows, prefix + "logps/rejected", label="rejected", color=REJECTED, marker="x")
    return finish(ax, "log-probability (nats)")


def kl_panel(ax: Axes, rows: Rows) -> Axes:
    """On-policy KL from the reference, with bars of two standard errors."""
    points = [(row["step"], row["eval/kl"], 2 * row["eval/kl_error"]) for row in rows if "eval/kl" in row]
    if points:
        steps, kl, error = zip(*points, strict=True)
        ax.errorbar(steps, kl, error, label="KL(policy || reference)", color=POLICY, marker=".", capsize=2)
    return finish(ax, "KL (nats a response)")


def speech_panel(ax: Axes, rows: Rows) -> Axes:
    """Sampled responses: their true reward and grammar if these are known, else their length."""
    if any("eval/reward" in row for row in rows):
        metric_line(ax, rows, "eval/reward", label="true reward (nats)", color=TRUTH, marker=".")
        metric_line(ax, rows, "eval/grammatical", label="share grammatical", color=REFERENCE, linestyle="--")
        return finish(ax, "sampled responses")
    metric_line(ax, rows, "eval/length", label="length", color=POLICY, marker=".")
    return finish(ax, "tokens a response")


def training_curves(rows: Rows, *, title: str, best_accuracy: float | None = None) -> Figure:
    """Six panels of one run: loss, implicit rewards, accuracy, log-probabilities, KL, and what the policy says."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)  # outside pyplot: no window, and nothing to close
    axes = figure.subplots(2, 3).flat
    loss_panel(axes[0], rows)
    reward_panel(axes[1], rows)
    accuracy_panel(axes[2], rows, best=best_accuracy)
    logps_panel(axes[3], rows)
    kl_panel(axes[4], rows)
    speech_panel(axes[5], rows)
    figure.suptitle(title)
    return figure


def reward_model_curves(
    rows: Rows,
    diagram: Reliability | None,
    *,
    title: str,
    best_loss: float | None = None,
    best_accuracy: float | None = None,
) -> Figure:
    """Two panels of a reward model's run, loss and accuracy, and its reliability diagram where pairs were held out."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    loss_panel(axes[0], rows, best=best_loss)
    accuracy_panel(axes[1], rows, best=best_accuracy, label="reward model")
    if diagram is None:
        axes[2].set_axis_off()
    else:
        reliability_panel(axes[2], diagram)
    figure.suptitle(title)
    return figure


def _prefix(rows: Rows) -> str:
    """The prefix of held-out values if there are any, else of those of the training batches."""
    return "eval/" if any("eval/loss" in row for row in rows) else ""


def finish(ax: Axes, ylabel: str, *, xlabel: str = "optimizer step") -> Axes:
    """The axes with labels, without top and right edges, and with a legend if anything in them has a label."""
    ax.set(xlabel=xlabel, ylabel=ylabel)
    open_axes(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize="small")
    return ax
