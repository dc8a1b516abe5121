"""The explorers of notebook 07: both directions of a divergence, the price of a nat, and Z from samples."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.lessons.kl_constrained_objective.pictures import DENSITY, answer_rows, camps_panel, frontier_panel
from dpo_notes.maths.optimal_frontier import optimal_point
from dpo_notes.maths.optimum import kl_divergence, log_partition, optimal_policy
from dpo_notes.maths.partition_estimate import samples_needed
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, TRUTH, open_axes
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.finite import word_by_word
from dpo_notes.worlds.finite.gradient import answers_at
from dpo_notes.worlds.finite.two_camps import TONES, corpus, fit_one_tone, one_tone
from dpo_notes.worlds.finite.world import FiniteWorld

SMALLEST_FACTOR = 1e-6  # that is drawn, as a logarithmic axis has no 0
REPEATS, MOST_SAMPLES, LONGEST = 200, 1000, 30  # of the estimates of Z
LOWEST, HIGHEST = 8, 4  # nats below and above the truth that are shown
ERROR = 0.1  # the relative error of Z that we accept


class TwoCamps(Explorer):
    """A speaker with one tone and a corpus with two: both divergences between them, and where each is least."""

    size = (11.0, 3.6)

    def __init__(self):
        self.corpus = corpus()
        self.grid = torch.linspace(-4, 4, 121, dtype=torch.float64)
        self.corpus_for_each = self.corpus.expand(len(self.grid), -1)
        self.between = TONES.abs() < 1
        super().__init__()

    def make_controls(self):
        return {
            "tone": W.FloatSlider(value=1, min=-4, max=4, step=0.01, description="the speaker's tone"),
            "spread": W.FloatSlider(value=1, min=0.35, max=3, step=0.01, description="the speaker's spread"),
        }

    def make_buttons(self):
        return {
            "Downhill on KL(speaker || corpus)": lambda: self.fit(lambda q: kl_divergence(q, self.corpus)),
            "Downhill on KL(corpus || speaker)": lambda: self.fit(lambda q: kl_divergence(self.corpus, q)),
        }

    def fit(self, divergence: Callable) -> None:
        """Move the speaker downhill to a minimum of the divergence."""
        tone, spread = self.controls["tone"], self.controls["spread"]
        tone.value, spread.value = fit_one_tone(divergence, mean=tone.value, spread=spread.value)

    def build(self, figure: Figure) -> Sequence[Artist]:
        hills, curves = figure.subplots(1, 2)
        camps_panel(hills, self.corpus, {})
        (self.speaker,) = hills.plot(TONES, TONES, color=POLICY, label="speaker")
        hills.legend(frameon=False, loc="upper left", fontsize="small")
        curves.set(xlim=(-4, 4), ylim=(0, 7.5), xlabel="the speaker's tone, at this spread", ylabel="nats")
        named = {"KL(speaker || corpus)": (POLICY, "-"), "KL(corpus || speaker)": (REFERENCE, "--")}
        self.curves = [
            curves.plot(self.grid, self.grid, style, color=color, label=name)[0]
            for name, (color, style) in named.items()
        ]
        self.dots = [curves.plot([0], [0], "o", color=color, markersize=9)[0] for color, _ in named.values()]
        curves.legend(frameon=False, loc="upper center", fontsize="small")
        open_axes(curves)
        return [self.speaker, *self.curves, *self.dots]

    def move(self, tone, spread):
        self.log_probs = one_tone(*torch.tensor([tone, spread], dtype=torch.float64))
        self.speaker.set_ydata(DENSITY * self.log_probs.exp())
        everywhere = one_tone(self.grid, torch.full_like(self.grid, spread))
        pairs = (everywhere, self.corpus_for_each), (self.corpus_for_each, everywhere)
        for curve, pair in zip(self.curves, pairs, strict=True):
            curve.set_ydata(kl_divergence(*pair))
        both = kl_divergence(self.log_probs, self.corpus), kl_divergence(self.corpus, self.log_probs)
        self.nats = [divergence.item() for divergence in both]
        for dot, height in zip(self.dots, self.nats, strict=True):
            dot.set_data([tone], [height])

    def describe(self, tone, spread):
        own, of_corpus = (log_probs.exp()[self.between].sum().item() for log_probs in (self.log_probs, self.corpus))
        return (
            f"Tone {tone:.2f}, spread {spread:.2f}: KL(speaker || corpus) is {self.nats[0]:.3f} nats, KL(corpus || speaker) "
            f"{self.nats[1]:.3f}. Between the camps, from -1 to 1, lie {own:.0%} of what the speaker says and "
            f"{of_corpus:.0%} of the corpus."
        )


class PriceOfANat(Explorer):
    """The optimal policy at a beta: its factor for each answer, and its point on the frontier."""

    size = (12.5, 3.7)

    def __init__(self, world: FiniteWorld, answers: Sequence[str]):
        self.world, self.answers = world, answers
        super().__init__()

    def make_controls(self):
        return {"beta": W.FloatLogSlider(value=0.75, base=10, min=-1, max=1, step=0.01, description="beta")}

    def build(self, figure: Figure) -> Sequence[Artist]:
        bars, factors, frontier = figure.subplots(1, 3, width_ratios=(4, 3, 4))
        rows = range(len(self.answers))
        answer_rows(bars, self.world, self.answers)
        self.bars = bars.barh(rows, [0.0] * len(rows), 0.5, color=POLICY, label="optimum")
        bars.legend(frameon=False, loc="lower right", fontsize="small")
        factors.set(xscale="log", xlim=(1e-3, 1e2), xlabel="multiplied by exp(r / beta) / Z")
        paid = [f"r = {reward:g}".replace("-", "−") for reward in self.world.reward.tolist()]
        factors.set_yticks(rows, paid, fontsize="small")
        factors.tick_params(axis="y", length=0)
        factors.set_ylim(bars.get_ylim())
        factors.axvline(1, color=REFERENCE, linewidth=1)
        self.factors = factors.barh(rows, [0.0] * len(rows), 0.5, left=1, color=POLICY, alpha=0.5)
        frontier_panel(frontier, self.world)
        (self.tangent,) = frontier.plot([], [], "--", color=POLICY, label="slope beta")
        (self.intercept,) = frontier.plot([], [], "s", color=MARGIN, label="J* = beta log Z")
        (self.here,) = frontier.plot([], [], "o", color=POLICY, markersize=10)
        frontier.legend(frameon=False, loc="lower right", fontsize="small")
        open_axes(factors)
        return [*self.bars, *self.factors, self.tangent, self.intercept, self.here]

    def move(self, beta):
        self.best = optimal_policy(self.world.reward, self.world.ref_log_probs, beta=beta)
        ratios = (self.best - self.world.ref_log_probs).exp().clamp(min=SMALLEST_FACTOR)
        probs = self.best.exp().tolist()
        for bar, strip, prob, ratio in zip(self.bars, self.factors, probs, ratios.tolist(), strict=True):
            bar.set_width(prob)
            strip.set_x(min(1.0, ratio))
            strip.set_width(abs(ratio - 1))
        point = optimal_point(self.world.reward, self.world.ref_log_probs, beta=beta)
        self.reward, self.kl = (value.item() for value in point)
        self.height = self.reward - beta * self.kl  # the tangent at KL 0
        reach = 6.0  # nats, beyond the right edge
        self.tangent.set_data([0, reach], [self.height, self.height + beta * reach])
        self.intercept.set_data([0], [self.height])
        self.here.set_data([self.kl], [self.reward])

    def describe(self, beta):
        likeliest = int(self.best.argmax())
        return (
            f"Beta {beta:.3g}: the best policy earns {self.reward:.3f} at {self.kl:.3f} nats from the reference, so J* is "
            f"{self.height:.3f}. It says “{self.answers[likeliest].strip()}” most often, with probability "
            f"{self.best.exp()[likeliest]:.3f}; the reference said it with {self.world.ref_log_probs.exp()[likeliest]:.2f}."
        )


class PartitionBySamples(Explorer):
    """Two hundred people estimate Z from samples of the reference: their errors, and the samples they would need."""

    size = (11.0, 3.6)

    def __init__(self, *, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        self.numbers = torch.rand(REPEATS * MOST_SAMPLES, generator=generator, dtype=torch.float64)
        self.rewards_of = lru_cache(maxsize=LONGEST)(self._rewards_of)
        self.grid = torch.logspace(-1, 1, 60, dtype=torch.float64)
        super().__init__()

    def _rewards_of(self, words: int) -> torch.Tensor:
        """The rewards of each person's samples, always with the same random numbers."""
        world = word_by_word.by_praise(words)
        picked = answers_at(world.ref_log_probs[None], self.numbers)[0]
        return world.reward[picked].view(REPEATS, MOST_SAMPLES)

    def make_controls(self):
        counts = [(f"{count:,}", count) for count in (1, 3, 10, 30, 100, 300, MOST_SAMPLES)]
        return {
            "beta": W.FloatLogSlider(value=0.3, base=10, min=-1, max=1, step=0.01, description="beta"),
            "samples": W.SelectionSlider(options=counts, value=100, description="samples each"),
            "words": W.IntSlider(value=20, min=1, max=LONGEST, description="words an answer"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        spread, needed = figure.subplots(1, 2)
        spread.axvline(0, color=TRUTH, linestyle="--", label="the truth")
        (self.people,) = spread.plot([0.0] * REPEATS, range(1, REPEATS + 1), ".", color=POLICY, label="a person")
        spread.set(xlim=(-LOWEST, HIGHEST), ylim=(0, REPEATS + 1), ylabel="people, lowest estimate first")
        spread.set_xlabel("log of the estimate − log Z (nats)")
        spread.legend(frameon=False, loc="upper left")
        needed.set(xscale="log", yscale="log", xlim=(0.1, 10), ylim=(1, 1e25), xlabel="beta")
        needed.set_ylabel("samples")
        (self.curve,) = needed.plot(self.grid, self.grid, color=TRUTH, label="needed, to know Z to 10%")
        (self.have,) = needed.plot([0.1, 10], [1, 1], "--", color=POLICY, label="taken")
        (self.here,) = needed.plot([], [], "o", color=MARGIN, markersize=9)
        needed.legend(frameon=False, loc="upper right")
        open_axes(spread, needed)
        return [self.people, self.curve, self.have, self.here]

    def move(self, beta, samples, words):
        world = word_by_word.by_praise(words)
        taken = self.rewards_of(words)[:, :samples]
        uniform = taken.new_full((1, 1), -math.log(samples)).expand_as(taken)
        truth = log_partition(world.reward, world.ref_log_probs, beta=beta)
        self.off = log_partition(taken, uniform, beta=beta) - truth
        self.people.set_xdata(self.off.sort().values.clamp(-LOWEST + 0.1, HIGHEST - 0.1))  # the rest at the edge
        betas = self.grid[:, None]
        tilted, reference = world.reward / betas, world.ref_log_probs.expand(len(betas), -1)
        self.curve.set_ydata(samples_needed(tilted, reference, beta=1.0, error=ERROR))
        self.needed = samples_needed(world.reward, world.ref_log_probs, beta=beta, error=ERROR).item()
        self.have.set_ydata([samples] * 2)
        self.here.set_data([beta], [self.needed])

    def describe(self, beta, samples, words):
        middle = self.off.median().exp().item()
        close = (self.off.exp() - 1).abs().le(ERROR).double().mean().item()
        return (
            f"Beta {beta:.3g}, answers of {words} words, {samples:,} samples each: the middle one of the 200 estimates is "
            f"{middle:.2g} times Z, and {close:.0%} of them are within a tenth of it. That close, in root mean square, takes "
            f"{self.needed:,.3g} samples."
        )
