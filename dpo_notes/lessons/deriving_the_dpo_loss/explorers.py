"""The explorers of notebook 08: the loss of two log-ratios, displacement, and the two faces of beta."""

from collections.abc import Sequence
from functools import cache, partial
from itertools import product

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.maths.losses import dpo_gradient_weight, dpo_loss, preference_metrics
from dpo_notes.plots.runs import CHOSEN, MARGIN, POLICY, REFERENCE, REJECTED, TRUTH, open_axes
from dpo_notes.teaching.live import Explorer
from dpo_notes.worlds.finite.log_linear import ANSWERS, chosen_slope, dpo_path
from dpo_notes.worlds.finite.log_linear import CHOSEN as CHOSEN_ANSWER
from dpo_notes.worlds.finite.log_linear import REJECTED as REJECTED_ANSWER
from dpo_notes.worlds.finite.one_comparison import margin_paths, resting_margin

BETAS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
RATES, SHARES = (0.1, 0.2, 0.3, 0.5, 0.7), (0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # of SGD; of raters who prefer the first
STEPS = 100  # of SGD and Adam on one comparison
ADAM_SHARE = 0.1  # Adam's learning rate, as a share of SGD's: 0.05 beside 0.5
STEP, DISPLACEMENT_BETA = 0.5, 1.0  # learning rate and beta of the displacement explorer
NAMES = list(ANSWERS)
W_ROW, L_ROW = NAMES.index(CHOSEN_ANSWER), NAMES.index(REJECTED_ANSWER)


@cache
def both_paths(rate: float, probability: float) -> dict[str, torch.Tensor]:
    """`margin_paths` of SGD at this learning rate, and of Adam at its share of it, for all BETAS."""
    makers = {"SGD": partial(torch.optim.SGD, lr=rate), "Adam": partial(torch.optim.Adam, lr=ADAM_SHARE * rate)}
    betas = torch.tensor(BETAS, dtype=torch.float64)
    return {
        name: margin_paths(betas, make_optimizer=make, steps=STEPS, probability=probability)
        for name, make in makers.items()
    }


class LossOfTwoLogratios(Explorer):
    """Beta and two log-ratios in; implicit rewards, margin, loss and the weight of the pair in the gradient out."""

    size = (11.0, 3.6)

    def make_controls(self):
        return {
            "beta": W.FloatLogSlider(value=0.5, base=10, min=-2, max=0.5, step=0.05, description="beta"),
            "chosen": W.FloatSlider(value=-1, min=-10, max=10, step=0.5, description="log-ratio of chosen"),
            "rejected": W.FloatSlider(value=-4, min=-10, max=10, step=0.5, description="log-ratio of rejected"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        rewards, loss, weight = figure.subplots(1, 3)
        rewards.set(ylim=(-12, 12), ylabel="nats", title="log-ratios (hollow), rewards (filled)")
        rewards.axhline(0, color=TRUTH, linewidth=0.8)
        rewards.set_xticks((0, 1), ("chosen", "rejected"))
        colours = (CHOSEN, REJECTED)
        self.logratios = rewards.bar((0, 1), (0, 0), 0.7, fill=False, edgecolor=colours, linewidth=1.5)
        self.rewards = rewards.bar((0, 1), (0, 0), 0.4, color=colours)
        self.margins = torch.linspace(-12, 12, 241, dtype=torch.float64)
        zeros = torch.zeros_like(self.margins)
        self.marks = []
        for ax, curve, title in (
            (loss, dpo_loss(self.margins, zeros, beta=1.0), "loss (nats)"),
            (weight, dpo_gradient_weight(self.margins, zeros, beta=1.0), "weight in the gradient"),
        ):
            ax.plot(self.margins, curve, color=POLICY)
            ax.axvline(0, color=REFERENCE, linestyle=":")
            ax.set(title=title, xlabel="margin: reward chosen − reward rejected", xlim=(-12, 12))
            self.marks += ax.plot([], [], "o", color=MARGIN, markersize=10)
        open_axes(rewards, loss, weight)
        return [*self.logratios, *self.rewards, *self.marks]

    def move(self, beta, chosen, rejected):
        pair = torch.tensor([[chosen], [rejected]], dtype=torch.float64)
        metrics = preference_metrics(*pair, beta=beta)
        self.read = {name.removeprefix("rewards/"): value.item() for name, value in metrics.items()}
        self.loss = dpo_loss(*pair, beta=beta).item()
        self.weight = dpo_gradient_weight(*pair, beta=beta).item()
        heights = (chosen, rejected, self.read["chosen"], self.read["rejected"])
        for bar, height in zip((*self.logratios, *self.rewards), heights, strict=True):
            bar.set_height(max(-12.0, min(12.0, height)))
        seen = max(-12.0, min(12.0, self.read["margins"]))
        self.marks[0].set_data([seen], [self.loss if abs(self.read["margins"]) <= 12 else max(0.0, -seen)])
        self.marks[1].set_data([seen], [self.weight])

    def describe(self, beta, chosen, rejected):
        read = self.read
        beyond = " (beyond the picture)" if abs(read["margins"]) > 12 else ""
        return (
            f"Beta {beta:.3g}: log-ratios {chosen:g} and {rejected:g} are implicit rewards {read['chosen']:.2f} and "
            f"{read['rejected']:.2f}. Margin {read['margins']:.2f}{beyond}, loss {self.loss:.3f}, weight {self.weight:.3f}; "
            f"the pull on each log-probability is beta times weight, {beta * self.weight:.3f}."
        )


class Displacement(Explorer):
    """Four answers in the plane of two features: where the chosen one must lie to gain, and what a few steps do."""

    size = (10.0, 3.8)
    page_controls = ("angle", "steps")

    def make_controls(self):
        return {
            "length": W.FloatSlider(
                value=0.6, min=0.1, max=2, step=0.05, description="distance of chosen from rejected"
            ),
            "angle": W.IntSlider(value=10, min=-180, max=180, step=5, description="angle (degrees)"),
            "steps": W.IntSlider(value=20, min=0, max=60, description="steps of DPO"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        self.features = torch.tensor(list(ANSWERS.values()), dtype=torch.float64)
        plane, bars = figure.subplots(1, 2, width_ratios=(5, 4))
        colours = [CHOSEN if row == W_ROW else REJECTED if row == L_ROW else POLICY for row in range(len(NAMES))]
        plane.set(xlim=(-2.6, 2.6), ylim=(-2.1, 2.1), xlabel="feature 1: courtesy", ylabel="feature 2: length")
        plane.set_aspect("equal")
        for row, marker in enumerate("os^D"):
            if row != W_ROW:
                plane.plot(*self.features[row], marker, color=colours[row], markersize=9)
        (self.chosen_dot,) = plane.plot([], [], "o", color=CHOSEN, markersize=9)
        (self.arrow,) = plane.plot([], [], color=CHOSEN, linewidth=2)
        (self.mean,) = plane.plot([], [], "P", color=TRUTH, markersize=11)
        (self.border,) = plane.plot([], [], "--", color=TRUTH)
        words = ("chosen", "rejected", NAMES[2], "Spain, politely")
        for row in range(len(NAMES)):
            if row != W_ROW:
                place = self.features[row] + torch.tensor([0.0, -0.12])
                plane.text(*place.tolist(), words[row], fontsize="small", ha="center", va="top")
        self.chosen_label = plane.text(0, 0, words[W_ROW], fontsize="small", ha="center", va="bottom")
        self.mean_label = plane.text(0, 0, "mean", fontsize="small")
        rows = range(len(NAMES))
        bars.set(xlim=(0, 1.12), yticks=rows, yticklabels=NAMES, xlabel="probability (outline: reference)")
        bars.invert_yaxis()
        start = [1 / len(NAMES)] * len(NAMES)
        bars.barh(rows, start, 0.8, fill=False, edgecolor=REFERENCE, linewidth=1.5)
        self.bars = bars.barh(rows, start, 0.5, color=colours)
        self.numbers = [bars.text(0, row, "", va="center") for row in rows]
        open_axes(plane, bars)
        in_plane = (self.border, self.arrow, self.chosen_dot, self.chosen_label, self.mean, self.mean_label)
        return [*in_plane, *self.bars, *self.numbers]

    def move(self, length, angle, steps):
        turn = torch.deg2rad(torch.tensor(float(angle), dtype=torch.float64))
        direction = length * torch.stack([turn.cos(), turn.sin()])
        features = self.features.clone()
        features[W_ROW] = features[L_ROW] + direction
        pair = {"chosen": W_ROW, "rejected": L_ROW}
        path = dpo_path(features, **pair, beta=DISPLACEMENT_BETA, learning_rate=STEP, steps=steps)
        self.probs, self.logratios = path[-1].exp(), path[-1] - path[0]
        self.slope = chosen_slope(features, torch.zeros_like(direction), **pair).item()
        mean, along = features.mean(dim=0), torch.stack([-direction[1], direction[0]]) / length
        self.chosen_dot.set_data(*features[W_ROW, :, None])
        self.arrow.set_data(*features[[L_ROW, W_ROW]].T)
        self.mean.set_data(*mean[:, None])
        self.border.set_data(*torch.stack([mean - 6 * along, mean + 6 * along]).T)
        self.chosen_label.set_position((features[W_ROW] + torch.tensor([0.0, 0.1])).tolist())
        self.mean_label.set_position((mean + torch.tensor([0.15, -0.06])).tolist())
        for bar, number, prob in zip(self.bars, self.numbers, self.probs.tolist(), strict=True):
            bar.set_width(prob)
            number.set(text=f" {prob:.2f}", x=max(prob, 1 / len(NAMES)))

    def describe(self, length, angle, steps):
        chosen, rejected = self.logratios[[W_ROW, L_ROW]].tolist()
        side = "short of the mean, so it falls" if self.slope < 0 else "beyond the mean, so it rises"
        winner = NAMES[int(self.probs.argmax())]
        return (
            f"Along the arrow the chosen answer lies {side} at first (slope {self.slope:.2f}). After {steps} steps the margin "
            f"has grown by {chosen - rejected:.2f} nats: the log-probability of the chosen answer has changed by "
            f"{chosen:+.2f}, that of the rejected one by {rejected:+.2f}. Likeliest now: “{winner}” with "
            f"{self.probs.max():.2f}."
        )


class TwoFaces(Explorer):
    """SGD and Adam on one comparison: the margin over the steps, and over beta after a number of steps."""

    size = (11.0, 3.8)
    page_controls = ("beta", "steps")

    def __init__(self):
        self.betas = torch.tensor(BETAS, dtype=torch.float64)
        for rate, share in product(RATES, SHARES):
            both_paths(rate, share)  # half a second now, so that no move has to wait
        super().__init__()

    def make_controls(self):
        return {
            "beta": W.SelectionSlider(options=BETAS, value=0.1, description="beta"),
            "rate": W.SelectionSlider(options=RATES, value=0.5, description="learning rate of SGD"),
            "steps": W.IntSlider(value=50, min=0, max=STEPS, description="steps"),
            "probability": W.SelectionSlider(options=SHARES, value=1.0, description="share that prefers the first"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        over_steps, over_beta = figure.subplots(1, 2)
        over_steps.set(xlim=(0, STEPS), ylim=(0, 15), xlabel="steps", ylabel="log-ratio margin (nats)")
        over_beta.set(
            xscale="log", xlim=(0.018, 3.3), ylim=(0, 15), xlabel="beta", title="after these steps, each beta"
        )
        over_steps.set_title("the chosen beta, step by step")
        over_beta.set_xticks((0.02, 0.05, 0.1, 0.2, 0.5, 1, 2), ("0.02", "0.05", "0.1", "0.2", "0.5", "1", "2"))
        over_beta.minorticks_off()
        self.lines, self.curves, self.dots = {}, {}, {}
        for name, style, marker in (("SGD", "-", "o"), ("Adam", "--", "s")):
            (self.lines[name],) = over_steps.plot([], [], style, color=POLICY)
            (self.curves[name],) = over_beta.plot([], [], style, color=POLICY, marker=".", label=name)
            self.dots[name] = [ax.plot([], [], marker, color=MARGIN, markersize=8)[0] for ax in (over_steps, over_beta)]
        (self.rest,) = over_steps.plot([], [], ":", color=TRUTH)
        (self.rests,) = over_beta.plot([], [], ":", color=TRUTH, label="where the loss is least")
        over_beta.legend(frameon=False, loc="upper right")
        open_axes(over_steps, over_beta)
        dots = [dot for pair in self.dots.values() for dot in pair]
        return [self.rest, self.rests, *self.lines.values(), *self.curves.values(), *dots]

    def move(self, beta, rate, steps, probability):
        column = BETAS.index(beta)
        rests = resting_margin(self.betas, probability=probability)
        self.least = rests[column].item()
        self.rest.set_data([0, STEPS], [self.least] * 2)
        self.rests.set_data(self.betas, rests)
        self.read = {}
        for name, path in both_paths(rate, probability).items():
            self.read[name] = path[steps, column].item()
            self.lines[name].set_data(range(STEPS + 1), path[:, column])
            self.curves[name].set_data(self.betas, path[steps])
            for dot, x in zip(self.dots[name], (steps, beta), strict=True):
                dot.set_data([x], [self.read[name]])

    def describe(self, beta, rate, steps, probability):
        if probability == 1:
            raters, end = "everybody prefers the first response", "The loss falls for ever, at any beta."
        else:
            raters = f"a share of {probability:g} prefers the first response"
            end = f"The loss is least at a margin of {self.least:.2f}."
        return (
            f"Beta {beta:g}, {steps} steps, {raters}: SGD at rate {rate:g} has a log-ratio margin of "
            f"{self.read['SGD']:.2f} nats, Adam at rate {ADAM_SHARE * rate:g} one of {self.read['Adam']:.2f}. {end}"
        )
