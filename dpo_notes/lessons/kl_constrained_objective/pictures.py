"""The pictures of notebook 07: data and an `ax` in; the Axes out."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from torch import Tensor

from dpo_notes.maths.optimal_frontier import optimal_point
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.plots.runs import POLICY, REFERENCE, TRUTH, open_axes
from dpo_notes.worlds.finite.two_camps import TONES
from dpo_notes.worlds.finite.world import FiniteWorld

BETAS = torch.logspace(-1.3, 2, 120).tolist()  # where the frontier is computed
DENSITY = 1 / (TONES[1] - TONES[0]).item()  # of a probability at one point of the line
ROOM = 0.2  # around a frontier, as a share of the axes


def camps_panel(ax: Axes, corpus: Tensor, speakers: dict[str, Tensor]) -> Axes:
    """The density of the corpus in grey, and over it that of each speaker, by label."""
    ax.fill_between(TONES, DENSITY * corpus.exp(), color=REFERENCE, alpha=0.35, linewidth=0, label="corpus")
    for (label, log_probs), style in zip(speakers.items(), ("-", "--", ":"), strict=False):
        ax.plot(TONES, DENSITY * log_probs.exp(), style, color=POLICY, label=label)
    ax.set(xlim=(-5, 5), ylim=(0, 1.15), xlabel="tone, from curt to polite", ylabel="density")
    ax.legend(frameon=False, loc="upper left", fontsize="small")
    open_axes(ax)
    return ax


def answer_rows(ax: Axes, world: FiniteWorld, answers: Sequence[str]) -> Axes:
    """A row for each answer, with the reference's probability as an outlined bar."""
    rows = range(len(answers))
    ax.barh(rows, world.ref_log_probs.exp().tolist(), 0.8, fill=False, edgecolor=REFERENCE, label="reference")
    ax.set(xlim=(0, 1), xlabel="probability", yticks=rows, yticklabels=[answer.strip() for answer in answers])
    ax.set_ylim(len(answers) - 0.4, -0.6)
    ax.tick_params(axis="y", labelsize="small", length=0)
    open_axes(ax)
    return ax


def optimum_panel(ax: Axes, world: FiniteWorld, answers: Sequence[str], *, beta: float) -> Axes:
    """The reference as outlined bars, and inside them the optimal policy at this beta."""
    answer_rows(ax, world, answers)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=beta).exp()
    ax.barh(range(len(answers)), best.tolist(), 0.5, color=POLICY, label="optimum")
    ax.set_title(f"beta {beta:g}", fontsize="medium")
    return ax


def frontier_panel(ax: Axes, world: FiniteWorld) -> Axes:
    """Expected reward against KL of optimal policies, from the reference (cross) to the best response alone."""
    points = [optimal_point(world.reward, world.ref_log_probs, beta=beta) for beta in BETAS]
    reward, kl = (torch.stack(values) for values in zip(*points, strict=True))
    ax.plot(kl, reward, color=TRUTH, label="optimal policies")
    start, end = (world.ref_log_probs.exp() @ world.reward).item(), world.reward.max().item()
    ax.plot(0, start, "X", color=REFERENCE, markersize=9, linestyle="none", label="reference")
    margins = ROOM * (end - start), 0.04 * kl.max().item()
    ax.set(xlabel="KL from the reference (nats)", ylabel="expected reward")
    ax.set(ylim=(start - margins[0], end + margins[0]), xlim=(-margins[1], kl.max().item() + margins[1]))
    open_axes(ax)
    return ax
