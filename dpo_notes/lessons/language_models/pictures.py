"""The pictures of notebook 01: data and an `ax` in, the Axes out."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from dpo_notes.maths.rows import Rows
from dpo_notes.plots.runs import POLICY, REFERENCE, TRUTH, metric_line, open_axes

BAR = 0.8  # of the space for a word


def next_token_bars(ax: Axes, words: Sequence[str], model: Sequence[float], truth: Sequence[float]) -> Axes:
    """The model's probability of each next token, and beside it the true one."""
    rows = range(len(words))
    ax.barh(rows, model, BAR, color=POLICY, label="the model π")
    ax.plot(truth, rows, "D", color=TRUTH, markersize=5, label="the corpus p")
    ax.set(yticks=rows, yticklabels=words, xlim=(0, 1), xlabel="probability of the next token")
    ax.invert_yaxis()
    return _finish(ax, loc="lower right")


def surprise_bars(ax: Axes, words: Sequence[str], model: Sequence[float], truth: Sequence[float]) -> Axes:
    """−log p of each token, in nats, by the model and by the true distribution, with the sum of each."""
    places, total = range(len(words)), "{}: {:.2f} nats in all"
    ax.bar(places, [-logp for logp in model], BAR, color=POLICY, label=total.format("the model", -sum(model)))
    known = total.format("the truth", -sum(truth))
    ax.plot(places, [-logp for logp in truth], "D", color=TRUTH, markersize=5, label=known)
    ax.set(xticks=places, xticklabels=words, ylabel="surprise −log p (nats)")
    return _finish(ax, loc="upper right")


def temperature_bars(ax: Axes, words: Sequence[str], probs: Sequence[float], *, title: str) -> Axes:
    """The distribution that the next token is drawn from."""
    ax.bar(range(len(words)), probs, BAR, color=POLICY)
    ax.set(xticks=range(len(words)), title=title)
    ax.set_xticklabels(words, rotation=60, ha="right", rotation_mode="anchor")
    open_axes(ax)
    return ax


def city_dots(ax: Axes, right: Sequence[float], *, truth: float) -> Axes:
    """For each city, from the least sure to the surest, the model's probability of the right country."""
    mean = sum(right) / len(right)
    ax.plot(range(1, len(right) + 1), sorted(right), ".", color=POLICY, label="the model, city by city")
    ax.axhline(mean, color=POLICY, linestyle="--", label=f"its mean: {mean:.2f}")
    ax.axhline(truth, color=TRUTH, linestyle=":", label=f"the corpus: {truth:.2f}")
    ax.set(ylim=(0, 1.02), xlabel="cities, the least sure first", ylabel="probability of the right country")
    return _finish(ax, loc="lower right")


def pretraining_panel(ax: Axes, rows: Rows, *, steps: int, levels: dict[str, float]) -> Axes:
    """Loss on the batches and on held-out texts, with named levels to compare: the loss without reading, or at best."""
    metric_line(ax, rows, "loss", label="training", color=POLICY, alpha=0.4)
    metric_line(ax, rows, "held out", label="held out", color=POLICY, marker="o")
    lowest = min(levels.values())
    for (name, level), style in zip(levels.items(), (":", "-.", "--"), strict=True):
        ax.axhline(level, color=TRUTH if level == lowest else REFERENCE, linestyle=style)
        place = (0, -4) if level == lowest else (0, 4)  # the curve comes down from above
        text = {"ha": "right", "va": "top" if level == lowest else "bottom", "fontsize": "small"}
        ax.annotate(f"{name}: {level:.2f}", (steps, level), place, textcoords="offset points", **text)
    ax.set(xlim=(0, 1.02 * steps), ylim=(0, 1.1 * max(levels.values())), xlabel="optimizer step", ylabel="nats a token")
    return _finish(ax, loc=(0.62, 0.3))


def _finish(ax: Axes, **legend: object) -> Axes:
    open_axes(ax)
    ax.legend(frameon=False, fontsize="small", **legend)
    return ax
