"""The explorers of notebook 09: a comparison under the microscope, token by token, and padding on either side."""

from collections.abc import Sequence
from itertools import product

import ipywidgets as W
import torch
from matplotlib.artist import Artist
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.lessons.computing_log_probabilities.padded import SIDES, TOLD, padded_logp
from dpo_notes.lessons.computing_log_probabilities.pictures import EMPTY_FILL, PROMPT_FILL, RESPONSE_FILL, TOLD_STYLES
from dpo_notes.lessons.computing_log_probabilities.token_rows import RESPONSES, rows_of
from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.logps import sequence_logps
from dpo_notes.maths.optimum import implicit_reward
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.plots.runs import CHOSEN, MARGIN, POLICY, REFERENCE, REJECTED, TRUTH, open_axes, set_heights
from dpo_notes.teaching.live import Explorer
from dpo_notes.teaching.tokens import drawable

LOWEST = -9.0  # nats; anything lower is drawn here


class Microscope(Explorer):
    """A comparison, token by token: its mask, log pi, log pi_ref, and its share of the implicit reward."""

    size = (11.0, 5.2)
    page_controls = ("response", "position")

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        pairs: Sequence[PreferencePair],
        policy: PreTrainedModel,
        reference: PreTrainedModel,
        *,
        beta: float,
    ):
        check_positive("beta", beta)
        self.pairs, self.beta = list(pairs), beta
        self.rows = [rows_of(tokenizer, pair, policy, reference, beta=beta) for pair in self.pairs]
        self.longest = max(len(row.words) for rows in self.rows for row in rows.values())
        self.pages: dict[
            tuple[int, str], object
        ] = {}  # images of what stays while the position moves, by comparison, response
        super().__init__()
        for page in product(range(1, 1 + len(self.pairs)), RESPONSES):
            self._turn_to(*page)

    def make_controls(self):
        prompts = [(f"{number}: {pair.prompt}", number) for number, pair in enumerate(self.pairs, start=1)]
        start = int(self.rows[0]["chosen"].shares.abs().argmax())
        return {
            "comparison": W.Dropdown(options=prompts, value=1, description="comparison"),
            "response": W.Dropdown(options=list(RESPONSES), value="chosen", description="response"),
            "position": W.IntSlider(value=start, min=0, max=self.longest - 1, description="position"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        figure.set_layout_engine("none")
        self.above = figure.add_axes((0.08, 0.58, 0.685, 0.35))
        self.below = figure.add_axes((0.08, 0.19, 0.685, 0.34))
        self.sums = figure.add_axes((0.86, 0.19, 0.13, 0.74))
        places = range(self.longest)
        self.above.set(ylim=(LOWEST - 1, 0.8), ylabel="log π (nats)", xticks=[])
        (self.rings,) = self.above.plot([], [], "o", fillstyle="none", color=REFERENCE, markersize=8, label="log π_ref")
        (self.dots,) = self.above.plot([], [], "o", color=POLICY, markersize=4, label="log π")
        self.above.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.97), borderaxespad=0)
        reach = 1.15 * max(row.shares.abs().max().item() for rows in self.rows for row in rows.values())
        far = 1.15 * max(row.shares.cumsum(0).abs().max().item() for rows in self.rows for row in rows.values())
        self.below.set(ylim=(-max(reach, far), max(reach, far)), ylabel="reward (nats)", xticks=places)
        self.bars = self.below.bar(places, [0.0] * self.longest, 0.7, color=MARGIN, label="the token's share")
        (self.steps,) = self.below.plot([], [], drawstyle="steps-mid", color=TRUTH, linewidth=1, label="sum so far")
        self.below.axhline(0, color=REFERENCE, linewidth=0.8)
        self.below.legend(frameon=False, ncols=2, fontsize="small", loc="upper right")
        self.grey = [ax.axvspan(-0.5, 0, color=PROMPT_FILL, alpha=0.6, zorder=0) for ax in (self.above, self.below)]
        self.title = figure.text(0.08, 0.955, "", parse_math=False)
        ends = [self._rewards(number) for number in range(len(self.rows))]
        high = 1.25 * max(abs(value) for rewards in ends for value in rewards)
        self.sums.set(ylim=(-high, high), xticks=range(3), title="rewards", xlim=(-0.6, 2.6))
        self.sums.set_xticklabels(("chosen", "rejected", "margin"), rotation=60, ha="right", rotation_mode="anchor")
        self.sums.axhline(0, color=REFERENCE, linewidth=0.8)
        self.totals = self.sums.bar(range(3), [0.0] * 3, color=[CHOSEN, REJECTED, MARGIN])
        for ax in (self.above, self.below):
            ax.set_xlim(-0.7, self.longest - 0.3)
        open_axes(self.above, self.below, self.sums)
        self.here = [ax.axvline(0, color=TRUTH, linestyle=":") for ax in (self.above, self.below)]
        floors = LOWEST, 0.9 * self.below.get_ylim()[0]  # the height of the numbers, clear of dots and bars
        self.numbers = [ax.text(0, y, "") for ax, y in zip((self.above, self.below), floors, strict=True)]
        return [*self.here, *self.numbers]

    def move(self, comparison, response, position):
        if (comparison, response) not in self.pages:
            self._turn_to(comparison, response)
        self.still = self.pages[comparison, response]
        self.row = self.rows[comparison - 1][response]
        last = len(self.row.words) - 1
        self.controls["position"].max = last  # the slider ends where the response does
        self.at = min(position, last)
        for line in self.here:
            line.set_xdata([self.at, self.at])
        logp, share = self.row.policy[self.at].item(), self.row.shares[self.at].item()
        said = f"{logp:z.2f}", f"{share:+z.3f}" if self.row.counts[self.at] else "not counted"
        for number, text in zip(self.numbers, said, strict=True):
            number.set_text(f" {text}")
            number.set_x(self.at)

    def page_grid(self):
        self.controls["position"].max = self.longest - 1  # of the longer response; in the other it stops at the end
        return super().page_grid()

    def describe(self, comparison, response, position):
        row, t = self.row, self.at
        chosen, rejected, margin = self._rewards(comparison - 1)
        does = "counts" if row.counts[t] else "belongs to the prompt and is masked out"
        if t == 0:
            what = "nothing predicts it, so its log-probability is set to 0"
        else:
            what = f"log π {row.policy[t].item():z.3f}, log π_ref {row.reference[t].item():z.3f}"
        share = f"; its share of the reward is {row.shares[t].item():+z.3f}" if row.counts[t] else ""
        return (
            f"“{self.pairs[comparison - 1].prompt}”, {response}, position {t}: “{row.words[t]}” {does}; {what}{share}, and up to "
            f"here the sum is {row.shares[: t + 1].sum().item():+z.3f}. Rewards: chosen {chosen:+z.3f}, rejected "
            f"{rejected:+z.3f}, margin {margin:+z.3f}."
        )

    def _rewards(self, number: int) -> tuple[float, float, float]:
        """(chosen, rejected, margin) of one comparison, from the sums of its log-probabilities."""
        sums = {}
        for name, row in self.rows[number].items():
            of = (sequence_logps(logps[None], row.counts[None]) for logps in (row.policy, row.reference))
            sums[name] = implicit_reward(*of, beta=self.beta).item()
        return sums["chosen"], sums["rejected"], sums["chosen"] - sums["rejected"]

    def _turn_to(self, comparison: int, response: str) -> None:
        """Draw what stays while the position moves, and keep it, because text is slow to draw."""
        row = self.rows[comparison - 1][response]
        places = torch.arange(len(row.words))
        self.rings.set_data(places[1:], row.reference[1:].clamp(min=LOWEST))
        self.dots.set_data(places[1:], row.policy[1:].clamp(min=LOWEST))
        self.steps.set_data(places, row.shares.cumsum(0))
        heights = row.shares.tolist() + [0.0] * (self.longest - len(row.words))
        set_heights(self.bars, heights)
        set_heights(self.totals, self._rewards(comparison - 1))
        for span in self.grey:
            span.set_width(int(row.counts.long().argmax()))  # from -0.5 on: up to the border
        words = [drawable(word) for word in row.words]
        self.below.set_xticks(
            range(len(words)), words, rotation=60, ha="right", rotation_mode="anchor", fontsize="small"
        )
        self.title.set_text(drawable(self.pairs[comparison - 1].prompt))
        self.canvas.draw()
        self.pages[comparison, response] = self.canvas.copy_from_bbox(self.canvas.figure.bbox)


MOST = 24  # tokens of padding
ROUNDING = 1e-7  # nats; the axis ends here


class Padding(Explorer):
    """One response with padding on one side, and the resulting error of its log-probability."""

    size = (10.0, 4.2)
    page_controls = ("told", "amount")

    def __init__(
        self, model: PreTrainedModel, prompt: Sequence[int], response: Sequence[int], *, pad_id: int, other_id: int
    ):
        self.lengths = len(prompt), len(response)
        self.fillings = {"end of text": pad_id, "another token": other_id}
        right = padded_logp(model, prompt, response, padding=[], side="right", told="nothing")
        self.off = {}
        for side, told, (filling, token) in product(SIDES, TOLD, self.fillings.items()):
            paddings = ([token] * amount for amount in range(MOST + 1))
            logps = [padded_logp(model, prompt, response, padding=each, side=side, told=told) for each in paddings]
            self.off[side, told, filling] = (torch.tensor(logps, dtype=torch.float64) - right).abs().float()
        super().__init__()

    def make_controls(self):
        return {
            "side": W.Dropdown(options=list(SIDES), value="left", description="padding on the"),
            "told": W.Dropdown(options=list(TOLD), value="attention mask", description="the model is told"),
            "filling": W.Dropdown(options=list(self.fillings), value="end of text", description="padding is"),
            "amount": W.IntSlider(value=8, min=0, max=MOST, description="padding tokens"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        strip, curves = figure.subplots(2, 1, height_ratios=(1, 5))
        columns = sum(self.lengths) + MOST
        strip.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, 0.5), yticks=[], xticks=[])
        strip.set_title(
            "the position that the model believes a token to have, at the ends of prompt (grey) and response (green)",
            fontsize="medium",
        )
        strip.spines[:].set_visible(False)
        squares = [[(x - 0.45, -0.45), (x + 0.45, -0.45), (x + 0.45, 0.45), (x - 0.45, 0.45)] for x in range(columns)]
        self.cells = PolyCollection(squares, edgecolors=REFERENCE)
        strip.add_collection(self.cells)
        prompt, response = self.lengths
        self.ends = sorted({0, prompt - 1, prompt, prompt + response - 1})  # the tokens with their position number
        labels = {"ha": "center", "va": "center", "fontsize": "small"}
        self.positions = [strip.text(0, 0, "", **labels) for _ in self.ends]
        curves.set(xlim=(-0.5, MOST + 0.5), ylim=(ROUNDING, 300), yscale="log")
        curves.set(xlabel="padding tokens", ylabel="off by (nats)")
        styles = dict(zip(TOLD, TOLD_STYLES, strict=True))
        self.lines, x = {}, range(MOST + 1)
        for told, (style, color) in styles.items():
            (self.lines[told],) = curves.plot(x, [1] * len(x), style, color=color, label=f"told: {told}", linewidth=2)
        (self.dot,) = curves.plot([], [], "o", color=MARGIN, markersize=10)
        curves.axhline(1e-4, color=REFERENCE, linewidth=0.6)
        curves.text(MOST + 0.4, 0.8e-4, "below: rounding of float32", ha="right", va="top", fontsize="small")
        curves.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize="small")
        open_axes(curves)
        return [self.cells, *self.positions, *self.lines.values(), self.dot]

    def move(self, side, told, filling, amount):
        prompt, response = self.lengths
        for name, line in self.lines.items():
            line.set_ydata(self.off[side, name, filling].clamp(min=ROUNDING))
        self.now = self.off[side, told, filling][amount].item()
        self.dot.set_data([amount], [max(self.now, ROUNDING)])
        left = amount if side == "left" else 0
        right = amount - left
        unused = sum(self.lengths) + MOST - (left + prompt + response + right)
        fills = [EMPTY_FILL] * left + [PROMPT_FILL] * prompt + [RESPONSE_FILL] * response + [EMPTY_FILL] * right
        self.cells.set_facecolor(fills + ["none"] * unused)
        self.cells.set_edgecolor([REFERENCE] * len(fills) + ["none"] * unused)
        counted_from = left if told == TOLD[-1] else 0
        for token, text in zip(self.ends, self.positions, strict=True):
            text.set_x(left + token)
            text.set_text(str(left + token - counted_from))

    def describe(self, side, told, filling, amount):
        off = f"by {self.now:.3g} nats" if self.now > 1e-4 else "by nothing but rounding"
        start = amount if side == "left" and told != TOLD[-1] else 0
        return (
            f"Padding tokens on the {side}: {amount}, filled with {filling}; the model is told {told if told != 'nothing' else 'nothing of it'}. "
            f"The first word of the prompt is taken to be at position {start}. The log-probability of the response is off {off}."
        )
