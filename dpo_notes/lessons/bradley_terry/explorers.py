"""The explorers of notebook 06: one comparison, a tournament with error bars, and a crowd with cyclic preferences."""

from collections.abc import Sequence
from functools import partial

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.lessons.bradley_terry import tournament
from dpo_notes.lessons.bradley_terry.pictures import (
    CURVES,
    STANDARD_ERRORS,
    margin_panel,
    preference_bars,
    tournament_panel,
)
from dpo_notes.maths.bradley_terry import fit_bradley_terry, preference_nll, sample_preferences, win_counts
from dpo_notes.maths.entropy import entropy
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.reward_errors import margin_errors, reward_covariance
from dpo_notes.plots.runs import CHOSEN, MARGIN, POLICY, REFERENCE, REJECTED, TRUTH, open_axes, set_heights
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.finite.world import preference_matrix

DESIGNS = {
    "everyone meets everyone": tournament.everyone,
    "a chain of neighbours": tournament.chain,
    "all meet the third": tournament.against_third,
}
BUDGETS = [30 * 2**k for k in range(8)]  # comparisons in all; each design divides them evenly
TOURNAMENTS = 30
MOST_RATERS = 40
REACH = 1.5  # half the length of the tangent, in nats


class OnePair(Explorer):
    """Two rewards, and what Bradley–Terry makes of them: probability, loss, slope."""

    size = (11.0, 3.2)

    def make_controls(self):
        slider = partial(W.FloatSlider, min=-3, max=3, step=0.1)
        return {
            "chosen": slider(value=0.5, description="reward of the chosen"),
            "rejected": slider(value=-0.5, description="reward of the rejected"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        rewards, *panels = figure.subplots(1, 4, width_ratios=(2, 3, 3, 3))
        rewards.set(ylim=(-3.2, 3.2), xlim=(-0.6, 1.6), title="rewards (nats)")
        rewards.set_xticks([0, 1], ["chosen", "rejected"])
        rewards.axhline(0, color=TRUTH, linewidth=0.8)
        open_axes(rewards)
        self.bars = rewards.bar([0, 1], [0.0, 0.0], 0.7, color=[CHOSEN, REJECTED])
        self.points = {}
        for ax, title in zip(panels, CURVES, strict=True):
            margin_panel(ax, title)
            (self.points[title],) = ax.plot([], [], "o", color=TRUTH, markersize=8)
        (self.tangent,) = panels[1].plot([], [], "--", color=TRUTH)
        return [*self.bars, self.tangent, *self.points.values()]

    def move(self, chosen, rejected):
        margin = torch.tensor(chosen - rejected, dtype=torch.float64)
        set_heights(self.bars, (chosen, rejected))
        self.values_now = {title: curve(margin).item() for title, curve in CURVES.items()}
        self.margin = margin.item()
        for title, value in self.values_now.items():
            self.points[title].set_data([self.margin], [value])
        _, loss, slope = self.values_now.values()
        ends = [self.margin - REACH, self.margin + REACH]
        self.tangent.set_data(ends, [loss + slope * (end - self.margin) for end in ends])

    def describe(self, chosen, rejected):
        probability, loss, slope = self.values_now.values()
        return (
            f"Rewards {chosen:.1f} and {rejected:.1f}, margin {self.margin:z.1f} nats. The model gives this choice probability "
            f"{probability:.3f}, so the loss is {loss:.3f} nats. A step down the loss lifts the chosen reward and lowers the "
            f"rejected one in proportion to {-slope:.3f}, the probability of the other choice."
        )


class ErrorBars(Explorer):
    """A tournament among answers of known reward: fitted rewards, their error bars, and how these shrink."""

    size = (11.0, 4.0)

    def __init__(self):
        self.names, self.truth = list(tournament.ANSWERS), tournament.true_rewards()
        self.last = len(self.names) - 1
        super().__init__()

    def make_controls(self):
        return {
            "budget": W.SelectionSlider(options=BUDGETS, value=240, description="comparisons in all"),
            "design": W.Dropdown(options=list(DESIGNS), description="who meets whom"),
            "draw": W.IntSlider(value=1, min=1, max=TOURNAMENTS, description="tournament"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        self.fitted = tournament_panel(left, self.names, self.truth)
        for name, style in zip(DESIGNS, ("-", "--", ":"), strict=True):
            errors = [self.expected_error(name, budget) for budget in BUDGETS]
            right.loglog(BUDGETS, errors, style, color=REFERENCE, label=name)
        (self.now,) = right.plot([], [], "o", color=MARGIN, markersize=9)
        right.set(xlabel="comparisons in all", title="standard error, best against worst (nats)", ylim=(0.05, 4))
        right.set_xticks(BUDGETS[::2], [str(budget) for budget in BUDGETS[::2]])
        right.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
        right.minorticks_off()
        right.title.set_fontsize("medium")
        right.legend(frameon=False, fontsize="small", loc="upper right")
        open_axes(right)
        return [self.fitted.bars, self.fitted.points, self.now]

    def meetings(self, design: str, budget: int):
        """The pairs that meet, each as often as the budget allows."""
        pairs = DESIGNS[design](len(self.names))
        return pairs.repeat(budget // len(pairs), 1)

    def expected_error(self, design: str, budget: int) -> float:
        """Standard error of the margin between best and worst answer, from the true rewards, in nats."""
        games = tournament.game_counts(self.meetings(design, budget), len(self.names))
        return margin_errors(reward_covariance(self.truth, games))[0, self.last].item()

    def move(self, budget, design, draw):
        pairs = self.meetings(design, budget)
        drawn = sample_preferences(self.truth, pairs, generator=torch.Generator().manual_seed(draw))
        self.expected = self.expected_error(design, budget)
        self.now.set_data([budget], [self.expected])
        self.refused = ""
        try:
            self.rewards = fit_bradley_terry(drawn, len(self.names))
        except InputError as problem:
            self.refused = str(problem)
            self.fitted.hide()
            return
        wins = win_counts(drawn, len(self.names))
        self.covariance = reward_covariance(self.rewards, wins + wins.T)
        self.errors = self.covariance.diagonal().sqrt()
        self.fitted.show(self.rewards, self.errors)

    def describe(self, budget, design, draw):
        if self.refused:
            return f"{budget} comparisons, {design}, tournament {draw}. There is no fit: {self.refused}."
        held = ((self.rewards - self.truth).abs() <= STANDARD_ERRORS * self.errors).sum().item()
        margin, error = self.rewards[0] - self.rewards[-1], margin_errors(self.covariance)[0, self.last]
        return (
            f"{budget} comparisons, {design}, tournament {draw}: {held} of {len(self.names)} bars hold the true reward. Best "
            f"against worst is fitted as {margin:.2f} nats, with a standard error of {error:.2f}; the truth is "
            f"{self.truth[0] - self.truth[-1]:.2f}. The true rewards lead one to expect an error of {self.expected:.2f}."
        )


class Crowd(Explorer):
    """Raters of three tastes, each always true to its own: their choices together, and one reward fitted to them."""

    size = (10.0, 3.6)

    def make_controls(self):
        return {
            taste: W.IntSlider(value=20, min=0, max=MOST_RATERS, description=f"{taste} raters")
            for taste in tournament.TASTES
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        bars, rewards = figure.subplots(1, 2, width_ratios=(3, 2))
        first, second = tournament.CYCLE, tournament.CYCLE[1:] + tournament.CYCLE[:1]
        names = [f"{a} over {b}" for a, b in zip(first, second, strict=True)]
        self.raters, self.fit = preference_bars(bars, names, torch.zeros(3), torch.zeros(3))
        rewards.set(
            xlim=(-2.5, 2.5), ylim=(2.5, -0.5), yticks=range(3), yticklabels=first, xlabel="fitted reward (nats)"
        )
        rewards.axvline(0, color=REFERENCE, linestyle=":")
        (self.points,) = rewards.plot([], [], "o", color=POLICY, markersize=9)
        open_axes(rewards)
        return [*self.raters, *self.fit, self.points]

    def move(self, **sizes):
        choices = tournament.crowd_choices([sizes[taste] for taste in tournament.TASTES])
        self.rewards = None
        for bar in (*self.raters, *self.fit):
            bar.set_height(0)
        self.points.set_data([], [])
        try:
            self.rewards = fit_bradley_terry(choices, len(tournament.CYCLE))
        except InputError:
            return  # all agree, or there is no rater
        wins = win_counts(choices, len(tournament.CYCLE))
        truth, fit = wins / (wins + wins.T), preference_matrix(self.rewards)
        self.truth, self.fitted = (each[[0, 1, 2], [1, 2, 0]] for each in (truth, fit))
        for bars, heights in ((self.raters, self.truth), (self.fit, self.fitted)):
            set_heights(bars, heights.tolist())
        self.points.set_data(self.rewards.tolist(), range(3))
        self.loss = preference_nll(*self.rewards[choices].unbind(1)).mean().item()
        self.least = entropy(torch.stack([self.truth, 1 - self.truth], dim=1).log()).mean().item()

    def describe(self, **sizes):
        if self.rewards is None:
            crowd = ", ".join(f"{size} {taste}" for taste, size in sizes.items())
            return f"{crowd}. There is no fit: what nobody ever chose over another would have a reward without bound."
        names = [f"{name} {reward:z.2f}" for name, reward in zip(tournament.CYCLE, self.rewards.tolist(), strict=True)]
        return (
            f"{', '.join(f'{size} {taste}' for taste, size in sizes.items())}. Raters prefer curt to plain, plain to polite, "
            f"and polite to curt with {', '.join(f'{value:.0%}' for value in self.truth.tolist())}; the fit says "
            f"{', '.join(f'{value:.0%}' for value in self.fitted.tolist())}, with rewards {', '.join(names)}. "
            f"Its loss is {self.loss:.3f} nats; knowing the three shares, {self.least:.3f} would do."
        )
