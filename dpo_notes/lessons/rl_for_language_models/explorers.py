"""The explorers of notebook 04: sampling has no slope, baselines reduce noise, and the KL penalty as a leash."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.maths.baselines import batch_mean, leave_one_out, no_baseline
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.plots.runs import MARGIN, POLICY, REFERENCE, TRUTH, open_axes
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.finite.gradient import answers_at, climb, gradient_estimates, objective_gradient
from dpo_notes.worlds.finite.world import FiniteWorld
from dpo_notes.worlds.reviews.flattery import ANSWERS, proxy_world, true_reward

STEPS, LEARNING_RATE = 80, 1.0  # of the climb on the flattering world
REPEATS = 400  # gradient estimates in one picture
HEARD = {"reward": "reward (nats)", "grammatical": "share grammatical", "kl": "KL from the reference (nats)"}
BASELINES = {"none": no_baseline, "mean of the batch": batch_mean, "mean of the others": leave_one_out}


class Staircase(Explorer):
    """The mean reward of sampled answers over one logit, for fixed random numbers: steps instead of a slope."""

    def __init__(self, world: FiniteWorld, *, seed: int = 4):
        self.world = world
        self.numbers = torch.rand(300, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.logit = torch.linspace(-3, 3, 241, dtype=torch.float64)
        self.logits = torch.zeros(len(self.logit), len(world.reward), dtype=torch.float64)
        self.logits[:, 0] = self.logit
        self.rewards = world.reward[answers_at(self.logits, self.numbers)]
        super().__init__()

    def make_controls(self):
        return {
            "samples": W.IntSlider(value=20, min=1, max=300, description="random numbers"),
            "logit": W.FloatSlider(value=0.5, min=-3, max=3, step=0.025, description="logit of the first answer"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        ax = figure.subplots()
        low, high = self.world.reward.min().item(), self.world.reward.max().item()
        ax.set(xlim=(-3, 3), ylim=(low - 0.15, high + 0.15), xlabel="logit of the first answer", ylabel="mean reward")
        open_axes(ax)
        expected = self.logits.softmax(-1) @ self.world.reward
        ax.plot(self.logit, expected, color=TRUTH, label="all possible answers: E[r]")
        (self.steps,) = ax.plot([], [], color=POLICY, drawstyle="steps-post", label="the answers these numbers pick")
        (self.touch,) = ax.plot([], [], color=MARGIN, linewidth=3, label="slope by the score function, same answers")
        (self.place,) = ax.plot([], [], "o", color=TRUTH)
        ax.legend(frameon=False, loc="upper left")
        return [self.steps, self.touch, self.place]

    def move(self, samples, logit):
        at = int((self.logit - logit).abs().argmin())
        point = self.logits[at]
        answers = answers_at(point[None], self.numbers[:samples])
        self.steps.set_data(self.logit, self.rewards[:, :samples].mean(dim=1))
        self.exact = objective_gradient(self.world, point, beta=0)[0].item()
        self.estimate = gradient_estimates(self.world, point, answers, beta=0)[0, 0].item()
        height = (point.softmax(-1) @ self.world.reward).item()
        self.place.set_data([logit], [height])
        self.touch.set_data([logit - 0.6, logit + 0.6], [height - 0.6 * self.estimate, height + 0.6 * self.estimate])

    def describe(self, samples, logit):
        jumps = int((self.rewards[1:, :samples].mean(1) != self.rewards[:-1, :samples].mean(1)).sum())
        return (
            f"Random numbers kept fixed: {samples}. The mean reward of the answers they pick is flat, but for {jumps} jumps "
            f"along the whole axis. At logit {logit:.2f} the slope of E[r] is {self.exact:.3f}; from the same answers the "
            f"score function estimates {self.estimate:.3f}."
        )


class GradientNoise(Explorer):
    """Many estimates of one gradient, each from a few samples of its own, and their errors."""

    size = (10.0, 4.0)

    def __init__(self, world: FiniteWorld, *, seed: int = 0):
        self.world, self.logits = world, world.ref_log_probs
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.multinomial(self.logits.exp(), REPEATS * 32, replacement=True, generator=generator)
        self.answers = drawn.view(REPEATS, 32)
        self.exact = objective_gradient(world, self.logits, beta=0)  # unchanged by a constant added to all rewards
        super().__init__()

    def make_controls(self):
        return {
            "samples": W.IntSlider(value=4, min=2, max=32, description="samples in an estimate"),
            "baseline": W.Dropdown(value="none", options=list(BASELINES), description="baseline"),
            "bonus": W.FloatSlider(value=2, min=0, max=5, step=0.5, description="added to every reward"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        cloud, bars = figure.subplots(1, 2, width_ratios=(3, 2))
        cloud.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="push on the first logit", ylabel="push on the second logit")
        (self.dots,) = cloud.plot([], [], ".", color=POLICY, alpha=0.35, label=f"{REPEATS} estimates")
        cloud.plot(*self.exact[:2], "P", color=TRUTH, markersize=12, label="the exact gradient")
        (self.centre,) = cloud.plot([], [], "x", color=MARGIN, markersize=12, markeredgewidth=3, label="their mean")
        cloud.legend(frameon=False, loc="lower left")
        bars.set(xlim=(0, 4), yticks=range(len(BASELINES)), yticklabels=BASELINES)
        bars.set(xlabel="how far off an estimate is (root mean square)", title="baseline")
        bars.invert_yaxis()
        self.errors = bars.barh(range(len(BASELINES)), [0.0] * len(BASELINES), color=REFERENCE)
        self.numbers = [bars.text(0, row, "", va="center") for row in range(len(BASELINES))]
        open_axes(cloud, bars)
        return [self.dots, self.centre, *self.errors, *self.numbers]

    def move(self, samples, baseline, bonus):
        paid = FiniteWorld(self.world.reward + bonus, self.world.ref_log_probs)
        answers = self.answers[:, :samples]
        self.off = {}
        for (name, function), bar, number in zip(BASELINES.items(), self.errors, self.numbers, strict=True):
            estimates = gradient_estimates(paid, self.logits, answers, beta=0, baseline=function)
            self.off[name] = (estimates - self.exact).square().sum(dim=1).mean().sqrt().item()
            bar.set_width(self.off[name])
            bar.set_facecolor(POLICY if name == baseline else REFERENCE)
            number.set_text(f" {self.off[name]:.2f}")
            number.set_x(min(self.off[name], 3.5))
            if name == baseline:
                self.mean = estimates.mean(dim=0)
                self.dots.set_data(*estimates[:, :2].T)
                self.centre.set_data(*self.mean[:2, None])

    def describe(self, samples, baseline, bonus):
        exact, mean = ([f"{value:.2f}" for value in vector[:2]] for vector in (self.exact, self.mean))
        return (
            f"{REPEATS} estimates from {samples} samples each, baseline: {baseline}, {bonus:g} added to every reward. "
            f"The exact gradient pushes the first two logits by {exact[0]} and {exact[1]}, the estimates on average by "
            f"{mean[0]} and {mean[1]}; one of them is off by {self.off[baseline]:.2f}."
        )


class Leash(Explorer):
    """Steps of policy gradient on a reward that flattery raises, with a price on leaving the reference."""

    size = (11.0, 4.0)

    def __init__(self):
        self.world, self.truth = proxy_world(), true_reward()
        self.path = lru_cache(maxsize=256)(self._path)
        super().__init__()

    def make_controls(self):
        return {
            "beta": W.FloatSlider(value=0, min=0, max=3, step=0.05, description="beta"),
            "steps": W.IntSlider(value=20, min=0, max=STEPS, description="steps"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        bars, curve = figure.subplots(1, 2, width_ratios=(3, 2))
        rows = range(len(ANSWERS))
        bars.set(xlim=(0, 1.0), yticks=rows, yticklabels=[answer.strip() for answer in ANSWERS], xlabel="probability")
        bars.set_ylim(len(ANSWERS) - 0.5, -1.3)
        bars.tick_params(axis="y", labelsize="small", length=0)
        bars.barh(
            rows, self.world.ref_log_probs.exp().tolist(), 0.8, fill=False, edgecolor=REFERENCE, label="reference"
        )
        self.bars = bars.barh(rows, [0.0] * len(rows), 0.5, color=POLICY, label="policy")
        for words, x in (("paid", 1.08), ("worth", 1.21)):
            bars.text(x, -0.85, words, ha="right")
        for row in rows:
            for value, x in ((self.world.reward[row], 1.08), (self.truth[row], 1.21)):
                bars.text(x, row, f"{value:g}".replace("-", "−"), ha="right", va="center")
        bars.legend(frameon=False, ncols=2, loc="upper left", borderaxespad=0)
        curve.set(xlim=(0, STEPS), ylim=(-1.2, 4.4), xlabel="steps of policy gradient", ylabel="expected reward")
        (self.paid,) = curve.plot([], [], color=POLICY, linestyle="--", label="what the policy is paid")
        (self.worth,) = curve.plot([], [], color=TRUTH, label="what its answers are worth")
        (self.now,) = curve.plot([], [], "o", color=MARGIN, markersize=9)
        curve.legend(frameon=False, loc="upper left")
        open_axes(bars, curve)
        return [*self.bars, self.paid, self.worth, self.now]

    def move(self, beta, steps):
        probs, paid, worth, self.kl = self.path(beta)
        for bar, width in zip(self.bars, probs[steps].tolist(), strict=True):
            bar.set_width(width)
        self.paid.set_data(range(STEPS + 1), paid)
        self.worth.set_data(range(STEPS + 1), worth)
        self.now.set_data([steps, steps], [paid[steps], worth[steps]])
        self.read = paid[steps].item(), worth[steps].item(), self.kl[steps].item()

    def describe(self, beta, steps):
        paid, worth, kl = self.read
        return (
            f"Beta {beta:g}, after {steps} steps: the policy is paid {paid:.3f}, its answers are worth {worth:.3f}. "
            f"It stands {kl:.2f} nats from the reference, so J is {paid - beta * kl:.2f}."
        )

    def _path(self, beta: float):
        """(probabilities, paid, worth, KL) at every step of the climb."""
        log_probs = climb(self.world, beta=beta, learning_rate=LEARNING_RATE, steps=STEPS)
        probs = log_probs.exp()
        kl = kl_divergence(log_probs, self.world.ref_log_probs.expand_as(log_probs))
        return probs, probs @ self.world.reward, probs @ self.truth, kl


class RecordedLeash(Explorer):
    """Recorded runs of the embedded GPT-2 at several betas: their answers, and measures of these.

    record: the recorded leash runs, from `read_record`.
    """

    size = (11.0, 3.2)

    def __init__(self, record: Mapping[str, Sequence]):
        self.prompts, self.runs = record["prompts"], {}
        for row in record["rows"]:
            self.runs.setdefault(row["beta"], []).append(row)
        self.steps = [row["step"] for row in next(iter(self.runs.values()))]
        super().__init__()

    def make_controls(self):
        return {
            "beta": W.SelectionSlider(options=list(self.runs), description="beta"),
            "step": W.SelectionSlider(options=self.steps, value=self.steps[-1], description="step"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        self.lines, self.dots = {}, {}
        for ax, (name, title) in zip(figure.subplots(1, len(HEARD)), HEARD.items(), strict=True):
            for run in self.runs.values():
                ax.plot(*_curve(run, name), color=REFERENCE, alpha=0.35)
            (self.lines[name],) = ax.plot([], [], color=POLICY, linewidth=2.5)
            (self.dots[name],) = ax.plot([], [], "o", color=MARGIN, markersize=9)
            ax.set(title=title, xlabel="step", xlim=(0, 1.03 * self.steps[-1]))
            open_axes(ax)
        return [*self.lines.values(), *self.dots.values()]

    def move(self, beta, step):
        run = self.runs[beta]
        self.row = next(row for row in run if row["step"] == step)
        for name, line in self.lines.items():
            line.set_data(*_curve(run, name))
            self.dots[name].set_data([step], [self.row[name]])

    def describe(self, beta, step):
        row = self.row
        said = [f"“{prompt}” “{text.strip()}”" for prompt, text in zip(self.prompts, row["texts"], strict=True)]
        return (
            f"Beta {beta:g}, after {step} steps: reward {row['reward']:.2f}, {row['grammatical']:.0%} of the answers "
            f"grammatical, {row['words']:.0f} words an answer, {row['kl']:.1f} nats from the reference. "
            f"It says: {'; '.join(said)}."
        )


def _curve(run: Sequence[Mapping], name: str) -> tuple[list[float], list[float]]:
    """(steps, values) of one metric of a run."""
    return [row["step"] for row in run], [row[name] for row in run]
