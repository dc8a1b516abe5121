"""The explorers of notebook 03: the cat's discount, its learning, and the noise of its gradient."""

from functools import lru_cache
from itertools import product

import ipywidgets as W
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from dpo_notes.lessons.reinforcement_learning.kitchen_runs import (
    CATS,
    LEARNING_RATES,
    POOL,
    ROUND,
    UPDATES,
    WORLD,
    crossing_gain,
    learning_run,
    noise_pool,
    way_in_words,
    way_return,
)
from dpo_notes.lessons.reinforcement_learning.pictures import WARMTH, Kitchen, path_of
from dpo_notes.plots.runs import POLICY, REFERENCE, TRUTH
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.kitchen.episodes import Episodes, sample_episodes
from dpo_notes.worlds.kitchen.gridworld import DISCOUNT, optimal_actions, optimal_values, policy_values

STAGES = {"untaught": 0, "after 8 updates": 8, "after 12 updates": 12}
ESTIMATES = 2000
SPINES = ["top", "right"]


class DiscountExplorer(Explorer):
    """A discount slider: optimal values, best moves, and the way that the cat takes."""

    size = (10.0, 3.7)
    page_pictures = 60

    def make_controls(self):
        return {"discount": W.FloatSlider(value=0.9, min=0.05, max=0.999, step=0.001, description="discount")}

    def build(self, figure: Figure):
        left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
        self.kitchen = Kitchen(left, WORLD)
        discounts = np.linspace(0, 1, 201)
        gains = np.array([crossing_gain(float(discount)) for discount in discounts])
        right.plot(discounts, gains, color=TRUTH)
        right.axhline(0, color=REFERENCE, linewidth=0.8)
        right.fill_between(discounts, 0, gains, where=gains > 0, color=WARMTH(1.0), alpha=0.3, linewidth=0)
        right.text(0.6, 3.4, "crossing\nearns more", ha="center", va="center", fontsize=9)
        right.set(xlim=(0, 1.02), ylim=(-2, 16), xlabel="discount", ylabel="crossing minus going round (reward)")
        right.spines[SPINES].set_visible(False)
        (self.dot,) = right.plot([], [], "o", color=TRUTH, markersize=9)
        self.gain = right.text(0.04, 14.5, "", fontsize=10)
        return [*self.kitchen.artists, self.dot, self.gain]

    def move(self, discount: float):
        best = optimal_actions(WORLD, discount=discount)
        self.way = path_of(WORLD, best)
        values = optimal_values(WORLD, discount=discount)
        self.kitchen.show(values, moves=best, path=self.way)
        self.start_value, self.more = values[WORLD.start].item(), crossing_gain(discount)
        self.dot.set_data([discount], [self.more])
        self.gain.set_text(f"crossing: {self.more:+.2f}".replace("-", "−"))

    def describe(self, discount: float) -> str:
        more = f"{abs(self.more):.2f} {'more' if self.more > 0 else 'less'}"
        return (
            f"At discount {discount:.3f} the best cat {way_in_words(self.way)}. Its start is worth "
            f"{self.start_value:.4g}; crossing earns {more} than going round (reward)."
        )


class LearningExplorer(Explorer):
    """A cat that learns by REINFORCE: its policy and value after every update, and episodes that it plays.

    The first explorer trains all the cats (36 runs, about ten seconds); after that a move only draws its picture.
    """

    size = (10.0, 3.7)
    page_controls, page_pictures = ("rate", "baseline", "update"), 60
    cats = CATS
    longest = 60  # steps of an episode that are shown

    def __init__(self):
        self.episode_number = 0
        for setting in product(LEARNING_RATES, (True, False), range(self.cats)):
            learning_run(*setting)
        super().__init__()

    def make_controls(self):
        wide = {"description_width": "initial"}
        return {
            "rate": W.SelectionSlider(options=LEARNING_RATES, value=0.2, description="learning rate", style=wide),
            "baseline": W.Checkbox(value=True, description="with baseline", indent=False),
            "cat": W.IntSlider(value=0, min=0, max=self.cats - 1, description="cat (seed)"),
            "update": W.IntSlider(value=20, min=0, max=UPDATES, description="updates so far"),
            "step": W.Play(value=0, min=0, max=self.longest, interval=300, description="play the episode"),
        }

    def make_buttons(self):
        return {"One step": self.one_step, "To the start": self.to_start, "Another episode": self.another_episode}

    def one_step(self):
        self.controls["step"].value = min(self.controls["step"].value + 1, self.longest)

    def to_start(self):
        self.controls["step"].value = 0

    def another_episode(self):
        self.episode_number += 1
        self.controls["step"].value = 0

    def build(self, figure: Figure):
        left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
        self.kitchen = Kitchen(left, WORLD, color=POLICY)
        updates = range(UPDATES + 1)
        self.optimum = optimal_values(WORLD)[WORLD.start].item()
        right.axhline(self.optimum, color=TRUTH, linestyle="--", label="optimum")
        long_way = way_return(ROUND, discount=DISCOUNT)
        right.axhline(long_way, color=REFERENCE, linestyle=":", label="always the way round")
        (self.other,) = right.plot(updates, np.zeros(UPDATES + 1), color=POLICY, alpha=0.5, linestyle="--")
        self.other.set_label("baseline switched")
        (self.curve,) = right.plot(updates, np.zeros(UPDATES + 1), color=POLICY, linewidth=2, label="this cat")
        (self.dot,) = right.plot([], [], "o", color=POLICY, markersize=9)
        right.set(xlim=(0, UPDATES + 1), ylim=(-12, 100), xlabel="updates", ylabel="value of the start (reward)")
        right.spines[SPINES].set_visible(False)
        right.legend(frameon=False, fontsize="small", ncols=2, loc="upper center")
        right.set_yticks(range(0, 61, 20))
        return [*self.kitchen.artists, self.other, self.curve, self.dot]

    def move(self, rate: float, baseline: bool, cat: int, update: int, step: int):
        logits, values = learning_run(rate, baseline, cat)
        self.value, policy = values[update], logits[update].softmax(dim=1)
        self.way = path_of(WORLD, policy)
        states, self.earned = self._played(rate, baseline, cat, update)
        self.now = min(step, len(states) - 1)
        worth = policy_values(WORLD, logits[update])
        self.kitchen.show(worth, moves=policy, path=states[: self.now + 1], cat=states[self.now])
        self.curve.set_ydata(values)
        self.other.set_ydata(learning_run(rate, not baseline, cat)[1])
        self.dot.set_data([update], [self.value])

    def describe(self, rate: float, baseline: bool, cat: int, update: int, step: int) -> str:
        return (
            f"Cat {cat}, learning rate {rate:g}, {'with' if baseline else 'without'} baseline, after {update} updates: its "
            f"start is worth {self.value:.1f} (the optimum: {self.optimum:.1f}), and by its likeliest moves it "
            f"{way_in_words(self.way)}. In the episode shown it has taken {self.now} steps and earned "
            f"{sum(self.earned[: self.now]):g}."
        )

    def _played(self, *setting) -> tuple[list[int], list[float]]:
        """The states of the current episode, including the last one, and the reward of each step."""
        *run, update = setting
        episode = _episode(tuple(run), update, self.episode_number, self.longest)
        n = int(episode.mask.sum())
        last = WORLD.next_state[episode.states[0, n - 1], episode.actions[0, n - 1]].item()
        return [*episode.states[0, :n].tolist(), last], episode.rewards[0, :n].tolist()


@lru_cache(maxsize=256)
def _episode(run: tuple, update: int, number: int, longest: int) -> Episodes:
    logits = learning_run(*run)[0][update]
    generator = torch.Generator().manual_seed(number)
    return sample_episodes(WORLD, logits, n_episodes=1, generator=generator, max_steps=longest)


class NoiseExplorer(Explorer):
    """How far estimates of one gradient component scatter about the exact value, by episodes and baseline."""

    size = (10.0, 3.4)
    page_controls = ("episodes", "baseline")

    def __init__(self):
        generator = torch.Generator().manual_seed(2)
        self.drawn = torch.randint(POOL, (ESTIMATES, 64), generator=generator).numpy()
        for updates in STAGES.values():
            noise_pool(updates)
        super().__init__()

    def make_controls(self):
        wide = {"description_width": "initial"}
        return {
            "stage": W.Dropdown(options=STAGES, value=12, description="policy", style=wide),
            "episodes": W.SelectionSlider(
                options=(1, 4, 16, 64), value=16, description="episodes an estimate", style=wide
            ),
            "baseline": W.FloatSlider(value=0, min=0, max=80, step=1, description="baseline"),
        }

    def build(self, figure: Figure):
        left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
        self.edges, self.baselines = np.arange(-30.5, 31.5), np.linspace(0, 80, 81)
        self.bars = left.stairs(np.zeros(61), self.edges, fill=True, color=POLICY, alpha=0.5)
        (self.exact,) = left.plot([0, 0], [0, 0.35], color=TRUTH, linewidth=2)
        (self.spread,) = left.plot([], [], color=POLICY, linewidth=4, solid_capstyle="butt")
        left.set(xlim=(-31, 31), ylim=(0, 0.4), xlabel="estimate of the gradient (reward)", ylabel="share of estimates")
        self.numbers = left.text(-30, 0.33, "", va="top", fontsize=10)
        left.text(30, 0.33, "black line: exact\nbar: mean ± one\nstandard deviation", ha="right", va="top", fontsize=9)
        (self.curve,) = right.plot(self.baselines, np.ones(81), color=POLICY)
        (self.dot,) = right.plot([], [], "o", color=POLICY, markersize=9)
        (self.best,) = right.plot([], [], "x", color=TRUTH, markersize=9, markeredgewidth=2)
        right.set(yscale="log", ylim=(0.4, 60), xlim=(-1, 81), xlabel="baseline (reward)", ylabel="standard deviation")
        right.set_yticks([1, 3, 10, 30])
        right.yaxis.set_major_formatter(ScalarFormatter())
        right.minorticks_off()
        right.text(79, 45, "×: best constant", ha="right", fontsize=9)
        for ax in (left, right):
            ax.spines[SPINES].set_visible(False)
        return [self.bars, self.exact, self.spread, self.numbers, self.curve, self.dot, self.best]

    def move(self, stage: int, episodes: int, baseline: float):
        first, second, self.truth = noise_pool(stage)
        estimates = (first - baseline * second)[self.drawn[:, :episodes]].mean(axis=1)
        shares = np.histogram(estimates.clip(-30, 30), self.edges)[0] / ESTIMATES
        self.mean, self.deviation = estimates.mean(), estimates.std()
        self.bars.set_data(shares, self.edges)
        self.exact.set_xdata([self.truth, self.truth])
        self.spread.set_data([self.mean - self.deviation, self.mean + self.deviation], [0.375, 0.375])
        self.numbers.set_text(f"exact {self.truth:.2f}\nmean {self.mean:.2f} ± {self.deviation:.2f}")
        covariance = np.cov(first, second)
        variances = covariance[0, 0] - 2 * self.baselines * covariance[0, 1] + self.baselines**2 * covariance[1, 1]
        deviations = np.sqrt(variances / episodes)
        self.curve.set_ydata(deviations)
        self.dot.set_data([baseline], [np.interp(baseline, self.baselines, deviations)])
        lowest = deviations.argmin()
        self.best.set_data([self.baselines[lowest]], [deviations[lowest]])

    def describe(self, stage: int, episodes: int, baseline: float) -> str:
        return (
            f"{ESTIMATES} estimates of {episodes} episodes each, baseline {baseline:g}: they scatter by "
            f"{self.deviation:.2f} about {self.mean:.2f}; the exact gradient is {self.truth:.2f} (reward)."
        )
