"""The explorers of notebook 11: the recorded frontier, the certainty of a win rate, and best-of-n with a judge."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.lessons.did_it_work.pictures import curve, points_of, strengths
from dpo_notes.maths.best_of_n import best_of_n_kl_bound, best_of_n_policy
from dpo_notes.maths.coverage import coverage, normal_interval
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.maths.win_rate import WinRate, wilson_interval
from dpo_notes.plots.frontier import METHODS, Record, kl_axis
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, TRUTH, open_axes
from dpo_notes.teaching.live import Explorer

KNOB_WORDS = {"beta": "beta {:g}", "epochs": "{:g} epochs", "n": "n = {:g}"}
DRAWS = (1, 2, 4, 8, 16, 32, 64)
ANSWERS = 240  # equally likely answers, among which best-of-n chooses


class FrontierPoints(Explorer):
    """One recorded run: where it stands among all methods, its figures, and its answers to a prompt.

    record: from `dpo-notes frontier`. Lines and faint marks are means over seeds; the large mark is one run.
    """

    size = (11.5, 4.1)

    def __init__(self, record: Record):
        self.record = record
        self.values_of = {method: strengths(record, method) for method in METHODS}
        self.most = max(map(len, self.values_of.values()))
        super().__init__()

    def make_controls(self) -> dict[str, W.ValueWidget]:
        prompts = self.record["prompts"]
        methods = [(label.rpartition(",")[0], method) for method, (label, _, _) in METHODS.items()]
        seeds = sorted({point["seed"] for point in points_of(self.record, "dpo")})
        return {
            "method": W.Dropdown(options=methods, value="dpo", description="method"),
            "step": W.IntSlider(value=5, min=1, max=self.most, description="step away from the base model"),
            "seed": W.Dropdown(options=seeds, value=seeds[0], description="seed"),
            "prompt": W.Dropdown(options=prompts, value=prompts[0], description="prompt"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        reward, grammar, wins = figure.subplots(1, 3, width_ratios=[5, 4, 2])
        for ax, name in ((reward, "reward"), (grammar, "grammatical")):
            for method, (label, color, marker) in METHODS.items():
                style = {"color": color, "marker": marker, "linewidth": 1, "alpha": 0.35}
                ax.plot(*curve(self.record, method, name), label=label.rpartition(",")[0], **style)
            kls = [point["kl"] for point in self.record["points"]]
            ax.set_xlim(0, 1.1 * max(kls))
            kl_axis(ax)
            ax.set(xlabel="KL from the base model (nats)")
        shown = (0, 0.5, 2, 4, 8, 16)
        grammar.set_xticks(shown, [f"{tick:g}" for tick in shown])
        reward.set_ylabel("true reward (nats)")
        grammar.set(ylabel="share grammatical", ylim=(0.4, 1.01))
        wins.axhline(0.5, color=REFERENCE, linestyle=":")
        wins.set(xlim=(-1, 1), ylim=(0.4, 1), xticks=[], ylabel="win rate, 95% interval")
        open_axes(reward, grammar, wins)
        figure.legend(
            *reward.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9
        )
        self.dots = [ax.plot([], [], color="k", markersize=12)[0] for ax in (reward, grammar, wins)]
        (self.interval,) = wins.plot([], [], linewidth=3)
        return [*self.dots, self.interval]

    def run(self, method: str, step: int, seed: int) -> dict[str, object]:
        """The recorded point; steps beyond the method's last strength give the last."""
        values = self.values_of[method]
        value = values[min(step, len(values)) - 1]
        return next(point for point in points_of(self.record, method, value=value) if point["seed"] == seed)

    def answers(self, method: str, step: int, seed: int, prompt: str) -> list[str]:
        """The run's answers to one of the recorded prompts."""
        samples, prompts = self.run(method, step, seed)["samples"], self.record["prompts"]
        each = len(samples) // len(prompts)
        start = prompts.index(prompt) * each
        return [answer.strip() for answer in samples[start : start + each]]

    def move(self, *, method: str, step: int, seed: int, prompt: str) -> None:
        point, (_, color, marker) = self.run(method, step, seed), METHODS[method]
        places = (point["kl"], point["reward"]), (point["kl"], point["grammatical"]), (0, point["win_rate"])
        for dot, (x, y) in zip(self.dots, places, strict=True):
            dot.set_data([x], [y])
            dot.set(color=color, marker=marker)
        self.interval.set_data([0, 0], [point["win_low"], point["win_high"]])
        self.interval.set_color(color)

    def describe(self, *, method: str, step: int, seed: int, prompt: str) -> str:
        point = self.run(method, step, seed)
        label, answers = METHODS[method][0].rpartition(",")[0], self.answers(method, step, seed, prompt)
        return (
            f"{label}, {KNOB_WORDS[point['knob']].format(point['value'])}, seed {seed}: true reward {point['reward']:.3f} at a "
            f"KL of {point['kl']:.3f} nats, {point['grammatical']:.1%} grammatical, {point['length']:.1f} tokens, win rate "
            f"{point['win_rate']:.3f} ({point['win_low']:.3f} to {point['win_high']:.3f}). To “{prompt}” it says: "
            f"{' And again: '.join(f'“{answer}”' for answer in answers)}"
        )


class HowSure(Explorer):
    """A win rate and two intervals around it: their ends, and how often intervals of each kind contain the truth."""

    size = (11.0, 3.4)

    def __init__(self):
        self.grid = torch.linspace(0.005, 0.995, 199, dtype=torch.float64)
        self.coverage_of = lru_cache(maxsize=20)(self._coverage_of)
        super().__init__()

    def _coverage_of(self, interval: Callable[[float, int], WinRate], count: int) -> torch.Tensor:
        made = torch.tensor([interval(k / count, count)[1:] for k in range(count + 1)], dtype=torch.float64)
        return coverage(made[:, 0], made[:, 1], self.grid)

    def make_controls(self):
        counts = [(str(count), count) for count in (10, 20, 50, 100, 200, 500)]
        return {
            "count": W.SelectionSlider(options=counts, value=20, description="prompts compared"),
            "rate": W.FloatSlider(value=0.95, min=0, max=1, step=0.005, readout_format=".3f", description="win rate"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        seen, holds = figure.subplots(1, 2, width_ratios=[4, 5])
        seen.axvspan(0, 1, color=REFERENCE, alpha=0.08)
        seen.axvline(0.5, color=REFERENCE, linestyle=":")
        seen.set(xlim=(-0.25, 1.25), ylim=(1.6, -0.6), xlabel="win rate")
        seen.set_yticks([0, 1], ["Wilson", "± 1.96 errors"])
        self.bars = [seen.plot([], [], color=c, linewidth=4)[0] for c in (POLICY, MARGIN)]
        self.marks = seen.plot([0, 0], [0, 1], "o", color=TRUTH)
        holds.axhline(0.95, color=REFERENCE, linestyle=":")
        holds.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="true win rate", ylabel="chance to hold it")
        styles = ((POLICY, "-", "Wilson"), (MARGIN, "--", "± 1.96 errors"))
        self.curves = [holds.plot([], [], s, color=c, label=label)[0] for c, s, label in styles]
        self.here = holds.plot([0, 0], [0, 1], color=TRUTH, linewidth=1)
        holds.legend(frameon=False, loc="lower center")
        open_axes(seen, holds)
        return [*self.bars, *self.marks, *self.curves, *self.here]

    def move(self, *, count: int, rate: float) -> None:
        self.made = wilson_interval(rate, count), normal_interval(rate, count)
        self.marks[0].set_xdata([rate, rate])
        self.here[0].set_xdata([rate, rate])
        self.holding = []
        for row, (interval, make) in enumerate(zip(self.made, (wilson_interval, normal_interval), strict=True)):
            self.bars[row].set_data([interval.low, interval.high], [row, row])
            held = self.coverage_of(make, count)
            self.curves[row].set_data(self.grid, held)
            self.holding.append(held[(self.grid - rate).abs().argmin()].item())

    def describe(self, *, count: int, rate: float) -> str:
        wilson, normal = self.made
        return (
            f"{rate:.3f} of {count} prompts won: Wilson says {wilson.low:.3f} to {wilson.high:.3f}, the normal interval "
            f"{normal.low:.3f} to {normal.high:.3f}. Where the truth is about that, intervals made in these ways hold it "
            f"{self.holding[0]:.1%} and {self.holding[1]:.1%} of the time."
        )


class BestOfMany(Explorer):
    """Best-of-n among 240 answers, by a judge with errors and ties: KL, promised gain and true gain."""

    size = (11.0, 3.5)

    def __init__(self, *, seed: int = 0):
        places = (torch.arange(ANSWERS, dtype=torch.float64) + 0.5) / ANSWERS
        self.truth = math.sqrt(2) * torch.erfinv(2 * places - 1)  # a normal distribution in 240 steps
        self.error = torch.randn(ANSWERS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.uniform = torch.full((ANSWERS,), -math.log(ANSWERS), dtype=torch.float64)
        super().__init__()

    def make_controls(self):
        levels = [("every answer", ANSWERS), *((f"{k} levels", k) for k in (12, 6, 4, 3, 2))]
        return {
            "n": W.SelectionSlider(options=[(str(n), n) for n in DRAWS], value=16, description="n"),
            "noise": W.FloatSlider(value=0.0, min=0, max=3, step=0.05, description="the judge's error"),
            "levels": W.SelectionSlider(options=levels, value=ANSWERS, description="the judge tells apart"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        paid, gained = figure.subplots(1, 2)
        bounds = [best_of_n_kl_bound(n) for n in DRAWS]
        paid.plot(DRAWS, bounds, "--", color=REFERENCE, label="log n − (n − 1)/n")
        (self.kls,) = paid.plot(DRAWS, bounds, color=POLICY, marker="o", label="KL(best-of-n || reference)")
        (self.here,) = paid.plot([], [], "o", color=POLICY, markersize=12)
        paid.set(xscale="log", xlim=(0.9, 75), ylim=(-0.1, 3.5), xlabel="n", ylabel="nats")
        paid.set_xticks(DRAWS, [str(n) for n in DRAWS])
        paid.minorticks_off()
        paid.legend(frameon=False, loc="upper left")
        (self.promised,) = gained.plot(bounds, bounds, "--", color=MARGIN, marker="s", label="as the judge sees it")
        (self.kept,) = gained.plot(bounds, bounds, color=TRUTH, marker="o", label="in truth")
        (self.there,) = gained.plot([], [], "o", color=TRUTH, markersize=12)
        gained.set(xlim=(-0.1, 3.5), ylim=(-0.3, 8), xlabel="KL (nats)", ylabel="gain in reward")
        gained.legend(frameon=False, loc="upper left")
        open_axes(paid, gained)
        return [self.kls, self.here, self.promised, self.kept, self.there]

    def move(self, *, n: int, noise: float, levels: int) -> None:
        seen = self.truth + noise * self.error
        ranks = seen.argsort().argsort()
        self.choosing = torch.div(ranks * levels, ANSWERS, rounding_mode="floor").double()
        policies = {draws: best_of_n_policy(self.choosing, self.uniform, n=draws) for draws in DRAWS}
        kls = {draws: kl_divergence(policy, self.uniform).item() for draws, policy in policies.items()}
        gains = [
            [(policy.exp() @ scores - scores.mean()).item() for policy in policies.values()]
            for scores in (seen, self.truth)
        ]
        at = DRAWS.index(n)
        self.kl, self.gain = kls[n], (gains[0][at], gains[1][at])
        self.kls.set_ydata(list(kls.values()))
        self.here.set_data([n], [self.kl])
        for line, values in zip((self.promised, self.kept), gains, strict=True):
            line.set_data(list(kls.values()), values)
        self.there.set_data([self.kl], [self.gain[1]])

    def describe(self, *, n: int, noise: float, levels: int) -> str:
        return (
            f"Best of {n}: {self.kl:.3f} nats from the reference, at most {best_of_n_kl_bound(n):.3f} for any judge. This one "
            f"errs by {noise:.2f} and tells {levels} levels apart: it sees a gain of {self.gain[0]:.2f}, and the gain in truth "
            f"is {self.gain[1]:.2f}."
        )
