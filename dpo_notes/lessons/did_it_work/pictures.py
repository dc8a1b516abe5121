"""The pictures of notebook 11: what held-out accuracy misses, promised and true gains, and longer answers."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes

from dpo_notes.plots.frontier import METHODS, Point, Record
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, TRUTH, open_axes

# Figures of a run, as the record names them.
FIGURES = ("kl", "reward", "reward_error", "grammatical", "length", "win_rate")
EXTRAS = ("accuracy", "margin", "learnt_gain")  # recorded for some methods only


def points_of(record: Record, method: str, *, value: float | None = None) -> list[Point]:
    """The recorded points of a method, or of one strength (`value`), in the order of strength and seed."""
    points = [point for point in record["points"] if point["method"] == method]
    chosen = [point for point in points if value is None or point["value"] == value]
    return sorted(chosen, key=lambda point: (point["value"] or 0, point["seed"] or 0))


def strengths(record: Record, method: str) -> list[float]:
    """The betas, epochs or n of a method, in ascending order of mean KL from the base model."""
    values = sorted({point["value"] for point in points_of(record, method)})
    return sorted(values, key=lambda value: mean_of(record, method, value)["kl"])


def mean_of(record: Record, method: str, value: float | None) -> dict[str, float]:
    """Means over the seeds of every recorded figure of a method at one strength."""
    points = points_of(record, method, value=value)
    names = [name for name in (*FIGURES, *EXTRAS) if name in points[0]]
    return {name: sum(point[name] for point in points) / len(points) for name in names}


def curve(record: Record, method: str, name: str) -> tuple[list[float], list[float]]:
    """(KLs, one figure) of a method's means, from the base model at KL 0 to the largest KL."""
    base = mean_of(record, "base", None)
    means = [base, *(mean_of(record, method, value) for value in strengths(record, method))]
    return [mean["kl"] for mean in means], [mean[name] for mean in means]


def shares_panel(ax: Axes, record: Record) -> Axes:
    """DPO over beta: held-out accuracy, which hardly changes, and the share of grammatical answers, which does."""
    lines = {"accuracy": ("held-out accuracy", MARGIN, "s"), "grammatical": ("grammatical answers", POLICY, "o")}
    _over_beta(ax, record, lines, "share").set_ylim(0, 1.05)
    return ax


def reward_over_beta_panel(ax: Axes, record: Record) -> Axes:
    """DPO over beta: the true reward of its answers, and its margin on held-out pairs."""
    lines = {"reward": ("true reward of its answers", TRUTH, "o"), "margin": ("implicit margin, held out", MARGIN, "s")}
    return _over_beta(ax, record, lines, "nats")


def promise_panel(ax: Axes, record: Record) -> Axes:
    """A policy's true gain over the base model, against the gain according to a reward model."""
    base = mean_of(record, "base", None)["reward"]
    for method in ("ppo-learnt", "best-of-n-learnt", "best-of-n"):
        label, color, marker = METHODS[method]
        points = [mean_of(record, method, value) for value in strengths(record, method)]
        kept, promised = [p["reward"] - base for p in points], [p["learnt_gain"] for p in points]
        ax.plot(promised, kept, color=color, marker=marker, label=label.rpartition(",")[0])
    ax.plot([0, 1.4], [0, 1.4], ":", color=REFERENCE, label="promise kept")
    ax.set(xlim=(0, 1.4), ylim=(0, 1.4), xlabel="gain that the reward model sees (nats)", ylabel="true gain (nats)")
    open_axes(ax)
    return ax


def length_panel(ax: Axes, record: Record, *, methods: Sequence[str] = tuple(METHODS)) -> Axes:
    """Tokens an answer against true reward: which methods earn more by writing more."""
    base = mean_of(record, "base", None)
    for method in methods:
        label, color, marker = METHODS[method]
        points = [mean_of(record, method, value) for value in strengths(record, method)]
        rewards, lengths = ([p[name] for p in points] for name in ("reward", "length"))
        ax.plot(rewards, lengths, color=color, marker=marker, linewidth=1, label=label.rpartition(",")[0])
    ax.plot(base["reward"], base["length"], "X", color=REFERENCE, markersize=9, label="base model")
    ax.set(xlabel="true reward (nats)", ylabel="tokens an answer")
    open_axes(ax)
    return ax


def interval_rows(ax: Axes, points: Sequence[Point], labels: Sequence[str]) -> Axes:
    """Win rates against the base model, a row each, with their 95% intervals."""
    for row, point in enumerate(points):
        _, color, marker = METHODS.get(point["method"], ("", REFERENCE, "X"))
        ax.plot([point["win_low"], point["win_high"]], [row, row], color=color, linewidth=2)
        ax.plot(point["win_rate"], row, marker, color=color, markersize=8)
    ax.axvline(0.5, color=REFERENCE, linestyle=":")
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set(xlabel="win rate against the base model, 95% interval", xlim=(0.4, 1))
    open_axes(ax)
    return ax


def estimates_panel(ax: Axes, exact: torch.Tensor, estimates: torch.Tensor) -> Axes:
    """A frontier and its estimates from samples. exact: [2 betas], KL and reward; estimates: [2 pools betas]."""
    ax.plot(*exact, color=TRUTH, label="exact")
    ax.plot(*estimates.flatten(1), ".", color=POLICY, alpha=0.25, label="from one pool of samples")
    ax.plot(*estimates.mean(dim=1), "o-", color=POLICY, linewidth=1, label="mean over pools")
    ax.set(xlabel="KL from the reference (nats)", ylabel="reward (nats)")
    open_axes(ax)
    return ax


def _over_beta(ax: Axes, record: Record, lines: Mapping[str, tuple[str, str, str]], ylabel: str) -> Axes:
    """Figures of DPO over beta, each with its label, colour and marker: means over the seeds, and a dot a seed."""
    betas, seeds = sorted(strengths(record, "dpo")), points_of(record, "dpo")
    for name, (label, color, marker) in lines.items():
        ax.plot(betas, [mean_of(record, "dpo", beta)[name] for beta in betas], color=color, marker=marker, label=label)
        ax.plot([p["value"] for p in seeds], [p[name] for p in seeds], ".", color=color, alpha=0.5)
    ax.set(xscale="log", xlabel="beta of DPO", ylabel=ylabel, ylim=(0, None))
    ax.set_xticks(betas, [f"{beta:g}" for beta in betas])
    ax.minorticks_off()
    open_axes(ax)
    ax.legend(frameon=False)
    return ax
