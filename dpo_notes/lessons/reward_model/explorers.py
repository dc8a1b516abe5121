"""The explorers of notebook 05: raters with private scales, and the position that a reward head reads."""

from collections.abc import Sequence
from functools import partial

import ipywidgets as W
import torch
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.lessons.reward_model.head_readings import (
    Padded,
    last_by_id,
    last_by_length,
    last_column,
    pad,
    rewards_everywhere,
)
from dpo_notes.lessons.reward_model.pictures import agreement_bars, agreements, score_lines
from dpo_notes.maths.errors import InputError
from dpo_notes.plots.runs import CHOSEN, POLICY, REFERENCE, TRUTH, open_axes
from dpo_notes.teaching.live import Explorer
from dpo_notes.teaching.tokens import drawable, token_words
from dpo_notes.worlds.finite.raters import draw_scales, feelings, private_scores

REWARD = torch.linspace(-1.5, 1.5, 6, dtype=torch.float64)  # of the six responses that are scored
RATERS, SHOWN, SEED = 60, 4, 4


def crowd(*, offset_spread: float, gain_spread: float, noise: float) -> Float[Tensor, "raters responses"]:
    """The scores of RATERS raters for the six responses: always the same people, with these spreads and noise."""
    at = torch.Generator().manual_seed(SEED)
    scales = draw_scales(RATERS, offset_spread=offset_spread, gain_spread=gain_spread, generator=at)
    return private_scores(feelings(REWARD, RATERS, noise=noise, generator=at), scales)


class PrivateScales(Explorer):
    """Four of sixty raters and their scores, and how well the sixty agree in scores and in choices."""

    size = (10.0, 3.6)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        return {
            "offset_spread": W.FloatSlider(value=1.5, min=0, max=3, step=0.1, description="spread of the offsets"),
            "gain_spread": W.FloatSlider(value=0.4, min=0, max=1, step=0.05, description="spread of the gains"),
            "noise": W.FloatSlider(value=0.3, min=0, max=2, step=0.1, description="noise of a feeling"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        self.lines = score_lines(left, REWARD, crowd(offset_spread=0.0, gain_spread=0.0, noise=0.0)[:SHOWN])
        left.set_ylim(-8, 8)
        self.bars = agreement_bars(right, [0.0] * 4)
        self.numbers = [right.text(0, place, "", va="center", fontsize="small") for place in range(4)]
        return [*self.lines, *self.bars, *self.numbers]

    def move(self, **spreads: float) -> None:
        scores = crowd(**spreads)
        for line, row in zip(self.lines, scores, strict=False):
            line.set_ydata(row)
        self.read = agreements(scores, REWARD)
        for bar, number, value in zip(self.bars, self.numbers, self.read, strict=True):
            bar.set_width(max(value, 0.0))
            number.set_text(f"{value:.2f}")
            number.set_x(max(value, 0.0) + 0.01)

    def describe(self, offset_spread: float, gain_spread: float, noise: float) -> str:
        correlation, same, by_two, by_one = self.read
        return (
            f"Offsets spread by {offset_spread:.1f}, gains by {gain_spread:.2f}, noise {noise:.1f}: scores of two raters correlate by "
            f"{correlation:z.2f}, their choices are the same in {same:.0%}. The better response has the higher score in {by_two:.0%} "
            f"when two raters score, and is chosen in {by_one:.0%} when one rater compares."
        )


SLOTS, MOST_PADDING = 36, 12  # positions in the picture
MOST_PAGES = 40  # kept; a page is about 2 MB
PADDINGS = ("a token of its own", "end of text")
RULES = {
    "the last own token, by length": last_by_length,
    "the last column": last_column,
    "the last token that is not padding, by its id": last_by_id,
}


class ReadingHead(Explorer):
    """The reward head's output at every position of a padded text, and the position that is read.

    tokenizer: the reward model's, which has a padding token of its own. The first text sets the limits of the axis;
    values beyond them are drawn at the edge.
    """

    size = (10.0, 4.2)
    page_controls = ("padding", "side", "rule")

    def __init__(
        self, reward_model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, prompt: str, response: str
    ):
        self.reward_model, self.tokenizer, self.prompt, self.response = reward_model, tokenizer, prompt, response
        said = self.read(self.padded(response, ended=True, padding=MOST_PADDING, side="right", token=PADDINGS[0]))
        self.limit = 1.3 * said.abs().max().item()
        super().__init__()

    def padded(self, response: str, *, ended: bool, padding: int, side: str, token: str) -> Padded:
        """The padded tokens of the text. Raises InputError if the picture has no room for them."""
        ids = [*self.tokenizer(self.prompt)["input_ids"], *self.tokenizer(response)["input_ids"]]
        ids += [self.tokenizer.eos_token_id] * ended
        if len(ids) > SLOTS - MOST_PADDING:
            raise InputError(f"that makes {len(ids)} tokens with the prompt; there is room for {SLOTS - MOST_PADDING}")
        return pad(ids, padding_id=self.padding_id(token), **{side: padding})

    def padding_id(self, token: str) -> int:
        """The padding id for one of PADDINGS."""
        return self.tokenizer.pad_token_id if token == PADDINGS[0] else self.tokenizer.eos_token_id

    def read(self, padded: Padded) -> Float[Tensor, " time"]:
        """The head's output at every position (nats)."""
        return rewards_everywhere(self.reward_model, padded)

    def make_controls(self) -> dict[str, W.ValueWidget]:
        return {
            "response": W.Text(value=self.response, description="response", layout={"width": "40em"}),
            "ended": W.Checkbox(value=True, description="with end of text", indent=False),
            "padding": W.IntSlider(value=4, min=0, max=MOST_PADDING, description="padding tokens"),
            "side": W.Dropdown(options=["right", "left"], description="padding on the"),
            "token": W.Dropdown(options=PADDINGS, description="padding is"),
            "rule": W.Dropdown(options=list(RULES), description="the head reads"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        figure.set_layout_engine("none")
        ax = figure.add_axes((0.07, 0.27, 0.92, 0.64))
        ax.set(xlim=(-0.7, SLOTS - 0.3), ylim=(-1.05 * self.limit, 1.05 * self.limit))
        ax.set(xticks=[], ylabel="what the head says")
        open_axes(ax)
        ax.spines["bottom"].set_visible(False)
        ax.axhline(0, color=REFERENCE, linewidth=0.6)
        (self.alone,) = ax.plot([0, SLOTS], [0, 0], color=TRUTH, linestyle="--", label="reward of the text by itself")
        (self.stems,) = ax.plot([], [], color=POLICY, linewidth=1)
        (self.own,) = ax.plot([], [], "o", color=POLICY, label="at an own token")
        (self.empty,) = ax.plot([], [], "o", color=REFERENCE, fillstyle="none", label="at padding")
        ring = {"fillstyle": "none", "markersize": 14, "markeredgewidth": 2}
        (self.ring,) = ax.plot([], [], "s", color=CHOSEN, label="read", **ring)
        shared = {"rotation": 90, "ha": "center", "va": "top", "fontsize": "small", "parse_math": False}
        self.names = [ax.text(place, -1.1 * self.limit, "", **shared) for place in range(SLOTS)]
        ax.legend(frameon=False, fontsize="small", ncols=4, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)
        self.pages = {}  # images of what stays, by text and position
        return [self.alone, self.stems, self.own, self.empty, self.ring]

    def move(self, response: str, ended: bool, padding: int, side: str, token: str, rule: str) -> None:
        padded = self.padded(response, ended=ended, padding=padding, side=side, token=token)
        pick = partial(last_by_id, padding_id=self.padding_id(token)) if RULES[rule] is last_by_id else RULES[rule]
        said, self.at = self.read(padded), pick(padded)
        self.says, self.tokens = said[self.at].item(), token_words(self.tokenizer, padded.ids)
        self.reward = self.read(self.padded(response, ended=ended, padding=0, side=side, token=token))[-1].item()
        shown = said.clamp(-self.limit, self.limit)  # drawn at the edge; the words say the number
        places = torch.arange(len(said))
        self.alone.set_ydata([max(-self.limit, min(self.limit, self.reward))] * 2)
        self.own.set_data(places[padded.mask], shown[padded.mask])
        self.empty.set_data(places[~padded.mask], shown[~padded.mask])
        stems = torch.stack([0 * shown, shown, shown * torch.nan], 1).flatten()
        self.stems.set_data(places.repeat_interleave(3), stems)
        self.ring.set_data([self.at], [shown[self.at]])
        self.is_padding = not padded.mask[self.at]
        own = places[padded.mask].tolist()
        self._turn_to(own[0], [self.tokens[place] for place in own])

    def describe(self, response: str, ended: bool, padding: int, side: str, token: str, rule: str) -> str:
        where = "padding" if self.is_padding else f"“{self.tokens[self.at]}”"
        right = "the same" if abs(self.says - self.reward) < 1e-4 else f"not the {self.reward:z.2f}"
        return (
            f"Padding tokens on the {side}: {padding}. The head reads {where} at position {self.at + 1} of {len(self.tokens)} and says "
            f"{self.says:z.2f}, {right} that the text by itself is worth."
        )

    def _turn_to(self, start: int, words: Sequence[str]) -> None:
        """Write the text's own tokens below the axis from position `start` on; padding has no words."""
        page = (start, *words)
        if page not in self.pages:
            if len(self.pages) == MOST_PAGES:
                self.pages.clear()
            for name in self.names:
                name.set_text("")
            for name, word in zip(self.names[start:], words, strict=False):
                name.set_text(drawable(word))
            self.canvas.draw()
            self.pages[page] = self.canvas.copy_from_bbox(self.canvas.figure.bbox)
        self.still = self.pages[page]
