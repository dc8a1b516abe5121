"""The explorers of notebook 10: a training run that the reader controls, and one comparison during a past run."""

import time
from collections.abc import Sequence
from dataclasses import replace

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import frozen_copy
from dpo_notes.lessons.training_gpt2_with_dpo.live_training import live_rows
from dpo_notes.lessons.training_gpt2_with_dpo.pictures import LINES, run_panels
from dpo_notes.lessons.training_gpt2_with_dpo.run_curves import curves, room_for
from dpo_notes.lessons.training_gpt2_with_dpo.snapshots import Snapshots
from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.maths.rows import Rows
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.plots.runs import CHOSEN, MARGIN, REFERENCE, REJECTED, open_axes, set_heights
from dpo_notes.teaching.live import Explorer
from dpo_notes.teaching.live_loop import LiveLoop
from dpo_notes.teaching.tokens import drawable
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.preference_loss import LOSSES

MOMENTS = 40  # of a run on the website, besides its end
LOOK_EVERY = 20  # steps between two looks at the held-out pairs
SECONDS = 0.25  # between two pictures while training goes on


class LiveTraining(Explorer):
    """DPO, or one of its relatives, trained while the reader watches: start, pause, reset, with other settings.

    Every run begins with the weights of `model`, which is the reference. config: the settings without a control here.
    beside: the rows of another run, drawn in grey. best: the best possible accuracy on the held-out pairs.
    The controls are read when a run begins; one that is changed later counts after Reset, and the sentence says so.
    """

    size = (12.0, 3.3)

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pairs: Sequence[PreferencePair],
        held_out: Sequence[PreferencePair],
        *,
        config: DPOConfig,
        beside: Rows = (),
        best: float | None = None,
    ):
        self.model, self.tokenizer, self.pairs, self.held_out = model, tokenizer, pairs, held_out
        self.config, self.beside, self.best = config, beside, best
        self.total = config.epochs * -(-len(pairs) // config.batch_size)
        self.policy, self.settings, self.due = None, {}, 0.0
        self.recorded: Rows = []  # a whole run, for the website
        self.loop = LiveLoop(self._begin, self._follow)
        super().__init__()

    def make_controls(self):
        rates = {"min": -5, "max": -2, "step": 0.05, "description": "learning rate", "readout_format": ".1e"}
        return {
            "loss": W.Dropdown(options=list(LOSSES), description="loss"),
            "beta": W.FloatLogSlider(value=self.config.beta, min=-2, max=1, step=0.05, description="beta"),
            "learning_rate": W.FloatLogSlider(value=self.config.learning_rate, **rates),
        }

    def page_grid(self):
        """The steps of one run with the current settings."""
        return {"step": sorted({*range(0, self.total, -(-self.total // MOMENTS)), self.total})}

    def go_to(self, step):
        self.loop.pause()
        if not self.recorded:
            self.recorded = [row for row in self._begin() if row]
        self.loop.rows = [row for row in self.recorded if row["step"] <= step and step > 0]
        self.loop.state = "paused" if self.loop.rows else "ready"
        self.refresh()

    def make_buttons(self):
        return {"Start": self.loop.start, "Pause": self.loop.pause, "Reset": self.loop.reset}

    def build(self, figure: Figure) -> Sequence[Artist]:
        self.axes, self.lines = run_panels(figure, steps=self.total, beside=self.beside, best=self.best)
        self.homes = {panel: ax.get_ylim() for panel, ax in self.axes.items()}
        self.title = figure.suptitle("the settings of a run", fontsize="medium")
        return [*self.lines.values(), self.title]

    def move(self, **values):
        self.title.set_text(_named(values if self.loop.state == "ready" else self.settings))
        for name, line in curves(self.loop.rows).items():
            self.lines[name].set_data(*line)
        needed = {panel: self._room(panel) for panel in self.axes}
        if any(needed[panel] != ax.get_ylim() for panel, ax in self.axes.items()):
            for panel, ax in self.axes.items():
                ax.set_ylim(needed[panel])
            self.canvas.draw()  # the scales are part of what stays while lines move
            self.still = self.canvas.copy_from_bbox(self.canvas.figure.bbox)

    def describe(self, **values):
        loop = self.loop
        if loop.state == "ready":
            return f"Step 0 of {self.total}: {_named(values)}. Start begins a run from the reference's weights."
        words = {"running": "Training", "paused": "Paused", "ended": "The run is over", "failed": "Training stopped"}
        said = [f"{words[loop.state]}: {_named(self.settings)}"]
        if loop.problem:
            said.append(f"{loop.problem}; Reset begins anew")
        said += self._latest()
        if values != self.settings:
            said.append(f"The controls have been changed; {_named(values)} will count after Reset")
        return ". ".join(said) + "."

    def _latest(self) -> list[str]:
        """The latest numbers, in words."""
        loss, margin = self.lines["loss mean"].get_ydata(), self.lines["margin mean"].get_ydata()
        said = []
        if len(loss):
            step = int(self.lines["loss"].get_xdata()[-1])
            said.append(f"Step {step} of {self.total}: loss {loss[-1]:.3f} and margin {margin[-1]:.3f}, last ten steps")
        accuracy = self.lines["accuracy"].get_ydata()
        if len(accuracy):
            chosen, rejected = (self.lines[name].get_ydata()[-1] for name in ("chosen", "rejected"))
            said.append(
                f"On {len(self.held_out)} held-out pairs accuracy is {accuracy[-1]:.0%}; the chosen answers' "
                f"log-probability has changed by {chosen:+.2f} nats, the rejected ones' by {rejected:+.2f}"
            )
        return said

    def _room(self, panel: str) -> tuple[float, float]:
        values = [value for name, (at, _) in LINES.items() if at == panel for value in self.lines[name].get_ydata()]
        home, now = self.homes[panel], self.axes[panel].get_ylim()
        if panel == "loss" and values and not home[0] <= values[0] <= home[1]:  # a loss of another scale
            home = (values[0] - 0.25, values[0] + 0.15)
        return room_for(values, home=home, now=now if self.loop.rows else home)

    def _begin(self):
        self.settings = self.values
        loss = LOSSES[self.settings["loss"]]
        config = replace(
            self.config,
            beta=self.settings["beta"],
            learning_rate=self.settings["learning_rate"],
            cache_reference=False,  # scoring all of it at once would block the buttons
        )
        self.policy = frozen_copy(self.model).requires_grad_()
        data = (self.pairs, self.held_out, self.tokenizer, config)
        return live_rows(self.policy, self.model, *data, loss=loss, every=LOOK_EVERY)

    def _follow(self) -> None:
        """Draw after a row, but at most every SECONDS seconds while running."""
        if self.loop.state != "running" or time.monotonic() >= self.due:
            self.refresh()
            self.due = time.monotonic() + SECONDS


def _named(values: dict) -> str:
    return f"{values['loss']}, beta {values['beta']:.3g}, learning rate {values['learning_rate']:.2g}"


class ThroughTraining(Explorer):
    """One comparison during a run: what each token of both responses has gained or lost against the reference."""

    size = (12.0, 4.6)

    def __init__(self, snapshots: Snapshots, *, beta: float):
        self.snapshots, self.beta = snapshots, beta
        self.shown = None  # the comparison whose tokens are in the picture
        super().__init__()

    def make_controls(self):
        names = [(f"{number}: {pair.prompt}", number - 1) for number, pair in enumerate(self.snapshots.pairs, start=1)]
        steps = [snapshot.step for snapshot in self.snapshots.taken]
        return {
            "comparison": W.Dropdown(options=names, description="comparison"),
            "step": W.SelectionSlider(options=steps, value=steps[-1], description="step"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        figure.set_layout_engine("none")
        self.most = max(len(words) for both in self.snapshots.words for words in both)
        taken = self.snapshots.taken
        ratios = torch.cat([ratio for snapshot in taken for ratio in (*snapshot.chosen, *snapshot.rejected)])
        self.tokens, self.bars = {}, {}
        for side, bottom, color in (("chosen", 0.66, CHOSEN), ("rejected", 0.17, REJECTED)):
            ax = self.tokens[side] = figure.add_axes((0.075, bottom, 0.585, 0.28))
            self.bars[side] = ax.bar(range(self.most), [0.0] * self.most, color=color)
            ax.axhline(0, color=REFERENCE, linewidth=0.8)
            ax.set(xlim=(-0.6, self.most - 0.4), ylabel=f"{side} (nats)", xticks=range(self.most))
            ax.set_ylim(1.1 * min(ratios.min().item(), -0.1), 1.1 * max(ratios.max().item(), 0.1))
            ax.tick_params(axis="x", rotation=45, labelsize="small", length=0)
        self.tokens["chosen"].set_title("log π − log π_ref of each token")
        self.path = figure.add_axes((0.73, 0.17, 0.26, 0.77))
        margins = [self.margin(number, snapshot) for number in range(len(self.snapshots.pairs)) for snapshot in taken]
        self.path.set(title="margin of the pair (nats)", xlabel="optimizer step")
        self.path.set(
            xlim=(-0.03 * taken[-1].step, 1.05 * taken[-1].step), ylim=(min(margins) - 0.1, max(margins) + 0.1)
        )
        self.path.axhline(0, color=REFERENCE, linestyle=":")
        (self.line,) = self.path.plot([], [], color=MARGIN, marker=".")
        (self.dot,) = self.path.plot([], [], "o", color=MARGIN, markersize=11)
        open_axes(*self.tokens.values(), self.path)
        return [*self.bars["chosen"], *self.bars["rejected"], self.line, self.dot]

    def margin(self, number: int, snapshot) -> float:
        """beta times (log-ratio of chosen minus that of rejected), in nats."""
        return self.beta * (snapshot.chosen[number].sum() - snapshot.rejected[number].sum()).item()

    def move(self, comparison, step):
        taken = self.snapshots.taken
        self.now = next(snapshot for snapshot in taken if snapshot.step == step)
        for side, bars in self.bars.items():
            heights = getattr(self.now, side)[comparison].tolist()
            set_heights(bars, heights + [0.0] * (self.most - len(heights)))
        self.line.set_data([one.step for one in taken], [self.margin(comparison, one) for one in taken])
        self.dot.set_data([step], [self.margin(comparison, self.now)])
        if comparison != self.shown:
            self._write(comparison)

    def describe(self, comparison, step):
        gained = []
        for side, words in zip(("chosen", "rejected"), self.snapshots.words[comparison], strict=True):
            ratios = getattr(self.now, side)[comparison]
            most = int(ratios.abs().argmax())
            gained.append(
                f"the {side} answer {ratios.sum():+.2f} nats, most of it at “{words[most]}” ({ratios[most]:+.2f})"
            )
        margin = torch.tensor(self.margin(comparison, self.now))
        sure = preference_probability(margin, torch.zeros(())).item()
        pair, answer = self.snapshots.pairs[comparison], self.now.answers[comparison].strip()
        return (
            f"After {step} steps, against the reference: {'; '.join(gained)}. The margin is {margin:z.2f}: the policy "
            f"would bet {sure:.0%} on the choice. Asked “{pair.prompt}”, it says: “{answer}”"
        )

    def _write(self, comparison: int) -> None:
        """Write the tokens below the bars, as part of what stays while the step moves."""
        for ax, words in zip(self.tokens.values(), self.snapshots.words[comparison], strict=True):
            labels = [drawable(word) for word in words] + [""] * (self.most - len(words))
            ax.set_xticklabels(labels, rotation=45, ha="right", parse_math=False)
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(self.canvas.figure.bbox)
        self.shown = comparison
