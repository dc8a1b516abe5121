"""The explorers of notebook 12: two losses of the family side by side, and wrong labels in a finite world."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import product

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.lessons.beyond_dpo.loss_gallery import GALLERY, scaled
from dpo_notes.lessons.beyond_dpo.pictures import REWARDS
from dpo_notes.maths.loss_family import robust_loss
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.optimum import kl_divergence, optimal_policy
from dpo_notes.plots.runs import POLICY, REFERENCE, TRUTH, open_axes, set_heights
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.finite.preferences import comparisons, corrected, fit_policy, flipped, has_finite_fit, win_rates
from dpo_notes.worlds.finite.two_answers import leading_margin
from dpo_notes.worlds.finite.world import FiniteWorld, preference_matrix

FITTED = {"DPO": POLICY, "cDPO": "#56B4E9", "robust": "#332288", "IPO": "#882255"}  # and the colour of each
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4)  # of wrong labels, true and assumed: the notches of two sliders


class Family(Explorer):
    """Two losses in the two-answer world: their values, how hard they push, and where the push ends."""

    size = (10.0, 3.4)
    page_controls = ("loss", "beta")

    def make_controls(self):
        return {
            "loss": W.Dropdown(options=list(GALLERY), value="ipo", description="loss"),
            "beside": W.Dropdown(options=list(GALLERY), value="dpo", description="beside it"),
            "beta": W.FloatLogSlider(value=0.5, min=-1.3, max=0.7, step=0.05, description="beta"),
            "preference": W.FloatSlider(value=0.8, min=0.55, max=1, step=0.01, description="A is preferred: p"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        losing, pushing = figure.subplots(1, 2)
        losing.set(ylim=(-3, 4), ylabel="expected loss (scaled)")
        pushing.set(ylim=(-1.3, 1.3), ylabel="expected push (scaled)")
        self.lines, self.goals = [], []
        for style, width, color in (("-", 2.5, POLICY), ("--", 1.5, REFERENCE)):
            for ax in (losing, pushing):
                self.lines += ax.plot([], [], style, color=color, linewidth=width)
        for mark, color in (("o", POLICY), ("s", REFERENCE)):
            self.goals += pushing.plot([], [], mark, color=color, markersize=9)
        for ax in (losing, pushing):
            ax.axvline(0, color=REFERENCE, linewidth=0.5)
            ax.set(xlim=(-4, 8), xlabel="beta x margin (nats)")
        pushing.axhline(0, color=REFERENCE, linewidth=0.5)
        self.captions = [losing.text(0.97, y, "", transform=losing.transAxes, ha="right", color=color) for y, color in
                     ((0.93, POLICY), (0.86, REFERENCE))]  # fmt: skip
        open_axes(losing, pushing)
        return [*self.lines, *self.goals, *self.captions]

    def move(self, loss, beside, beta, preference):
        self.margins = {}
        for row, name in enumerate((loss, beside)):
            for line, values in zip(
                self.lines[2 * row : 2 * row + 2], scaled(name, REWARDS, beta=beta, preference=preference), strict=True
            ):
                line.set_data(REWARDS.numpy(), values.numpy())
            self.margins[name] = leading_margin(GALLERY[name], beta=beta, preference=preference)
            goal = beta * self.margins[name]
            self.goals[row].set_data([goal] if math.isfinite(goal) else [], [0] if math.isfinite(goal) else [])
            self.captions[row].set_text(
                f"{'dashed' if row else 'solid'}: {name}, to {_margin_in_words(self.margins[name])}"
            )

    def describe(self, loss, beside, beta, preference):
        led = [f"{name} leads to {_margin_in_words(self.margins[name])}" for name in dict.fromkeys((loss, beside))]
        return f"A is preferred in {preference:.0%} of the comparisons, and beta is {beta:.2g}: {'; '.join(led)}."


class NoisyLabels(Explorer):
    """Infinitely many comparisons with a share of flipped labels: the rewards and policies that four losses fit."""

    size = (10.0, 3.8)

    def __init__(self, world: FiniteWorld):
        self.world, self.truth, self.fits = world, preference_matrix(world.reward), {}
        self.first, self.second = torch.triu_indices(len(world.reward), len(world.reward), offset=1)
        for name, flips, assumed in product(FITTED, SHARES, SHARES):  # in advance, so that sliders need not wait
            self.fitted(name, flips, assumed)
        super().__init__()

    def make_controls(self):
        return {
            "flips": W.FloatSlider(value=0.2, min=0, max=SHARES[-1], step=0.1, description="labels turned round"),
            "assumed": W.FloatSlider(
                value=0.2, min=0, max=SHARES[-1], step=0.1, description="share that the loss assumes"
            ),
            "beta": W.FloatLogSlider(value=1, min=-0.6, max=0.6, step=0.05, description="beta"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        learnt, bars = figure.subplots(1, 2, width_ratios=(2, 3))
        learnt.plot([-5, 5], [-5, 5], color=TRUTH, linewidth=1, label="right")
        learnt.set(xlim=(-0.2, 4), ylim=(-0.5, 5), xlabel="true difference of rewards (nats)")
        learnt.set(ylabel="beta x fitted margin (nats)")
        marks = zip(FITTED.items(), "osD^", strict=True)
        self.dots = {name: learnt.plot([], [], mark, color=color, label=name)[0] for (name, color), mark in marks}
        learnt.legend(frameon=False, fontsize="small", loc="upper left")
        places = torch.arange(len(self.world.reward), dtype=torch.float64)
        self.bars = {
            name: bars.bar(places + 0.2 * number - 0.3, [0.0] * len(places), 0.18, color=color)
            for number, (name, color) in enumerate(FITTED.items())
        }
        heights = self.world.ref_log_probs.exp().repeat_interleave(3)
        heights[2::3] = math.nan  # a stroke over each answer, and a gap
        self.strokes = (places[:, None] + torch.tensor([-0.42, 0.42, 0.42])).flatten()
        (reference,) = bars.plot(self.strokes, heights, ":", color=REFERENCE, linewidth=2.5, label="reference")
        (self.optimum,) = bars.plot([], [], color=TRUTH, linewidth=2.5, label="best for the true rewards")
        bars.set(ylim=(0, 1), ylabel="probability", xticks=places, xlabel="answer, with its true reward")
        bars.set_xticklabels([f"{reward:.1f}" for reward in self.world.reward])
        bars.legend(frameon=False, fontsize="small")
        open_axes(learnt, bars)
        return [*self.dots.values(), *(bar for each in self.bars.values() for bar in each), reference, self.optimum]

    def move(self, flips, assumed, beta):
        reference = self.world.ref_log_probs
        self.best = optimal_policy(self.world.reward, reference, beta=beta)
        true = (self.world.reward[self.first] - self.world.reward[self.second]).abs()
        up = torch.where(self.world.reward[self.first] >= self.world.reward[self.second], 1, -1)
        self.off = {}
        for name in FITTED:
            rewards = self.fitted(name, flips, assumed)
            if rewards is None:
                margins, probs, self.off[name] = torch.full_like(true, math.nan), [0.0] * len(reference), math.inf
            else:
                policy = optimal_policy(rewards, reference, beta=beta)
                margins, probs = (rewards[self.first] - rewards[self.second]) * up, policy.exp().tolist()
                self.off[name] = kl_divergence(self.best, policy).abs().item()
            self.dots[name].set_data(true.numpy(), margins.numpy())
            set_heights(self.bars[name], probs)
        heights = self.best.exp().repeat_interleave(3)
        heights[2::3] = math.nan
        self.optimum.set_data(self.strokes.numpy(), heights.numpy())

    def describe(self, flips, assumed, beta):
        off = [f"{name} {_distance_in_words(value)}" for name, value in self.off.items()]
        return (
            f"{flips:.0%} of the labels are turned round, cDPO and robust DPO assume {assumed:.0%}, beta is {beta:.2g}. "
            f"From the policy that is best for the true rewards: {', '.join(off)}."
        )

    def fitted(self, name: str, flips: float, assumed: float) -> torch.Tensor | None:
        """beta * log-ratio of each answer, up to a constant, at the minimum of the loss; None if there is no minimum.

        Computed once, at beta 1: at the minimum these rewards are the same for every beta.
        """
        key = name, round(flips, 2), round(assumed, 2)
        if key not in self.fits:
            seen, draws = flipped(self.truth, flips=key[1]), self.world.ref_log_probs.exp()
            losses = {"DPO": dpo_loss, "cDPO": partial(dpo_loss, label_smoothing=key[2])}
            losses["robust"] = partial(robust_loss, label_smoothing=key[2])
            if name == "IPO":
                self.fits[key] = win_rates(seen, draws)
            elif name == "robust" and not has_finite_fit(corrected(seen, flips=key[2]), draws):
                self.fits[key] = None
            else:
                data, reference = comparisons(seen, draws), self.world.ref_log_probs
                self.fits[key] = fit_policy(data, reference, beta=1.0, loss_fn=losses[name]) - reference
        return self.fits[key]


def _margin_in_words(margin: float) -> str:
    return f"a margin of {margin:.2f} nats" if math.isfinite(margin) else "a margin without end"


def _distance_in_words(kl: float) -> str:
    return f"is {kl:.3f} nats off" if math.isfinite(kl) else "runs away without end"
