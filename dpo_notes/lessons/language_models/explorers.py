"""The explorers of notebook 01: the next token, temperature, top-k and top-p, and what training does."""

import math
from collections.abc import Sequence
from functools import partial

import ipywidgets as W
import torch
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.continuation import Continuation
from dpo_notes.language.generate import next_token_probs
from dpo_notes.maths.entropy import cross_entropy, entropy
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.plots.runs import POLICY, REFERENCE, TRUTH, open_axes, set_heights
from dpo_notes.teaching.grid import grid_of
from dpo_notes.teaching.live import Explorer
from dpo_notes.teaching.tokens import drawable, token_words

SHOWN = 10  # tokens with a bar
LONGEST_TITLE = 95  # letters
PROMPTS = (  # for the website, where no prompt can be typed; the explorer's own prompt comes first
    "Where is Shanghai?",
    "Where is Shanghai? Shanghai is",
    "Review of The Silent Harbour:",
    "The plot was",
    "Thank you for",
)


def sampling_controls() -> dict[str, W.ValueWidget]:
    """Temperature, top-k and top-p, set so that they change nothing."""
    return {
        "temperature": W.FloatSlider(value=1, min=0, max=3, step=0.05, description="temperature"),
        "top_k": W.IntSlider(value=0, min=0, max=20, description="top-k (0 keeps all)"),
        "top_p": W.FloatSlider(value=1, min=0.05, max=1, step=0.05, description="top-p (1 keeps all)"),
    }


class NextToken(Explorer):
    """A prompt, the model's next token before and after the settings, and a token drawn at a click."""

    size = (10.0, 4.4)

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, prompt: str, generator: torch.Generator
    ):
        self.start = partial(Continuation, model, tokenizer)
        self.so_far, self.tokenizer, self.generator = self.start(prompt), tokenizer, generator
        self.written: list[int] = []  # the ids whose text is in the picture
        super().__init__()

    def make_controls(self):
        prompt = W.Text(value=self.so_far.prompt, description="prompt", layout={"width": "40em"})
        return {"prompt": prompt, **sampling_controls()}

    def page_grid(self):
        prompts = [self.so_far.prompt, *PROMPTS]
        return {"prompt": prompts} | grid_of(self.controls, ["temperature"], most=self.page_pictures // len(prompts))

    def make_buttons(self):
        return {
            "Draw the next token": self.draw,
            "Take the likeliest": self.take_likeliest,
            "Start again": self.start_again,
        }

    def draw(self) -> None:
        """Append a token drawn with the settings, unless the text has ended."""
        if not self.so_far.ended:
            probs = self.with_settings()
            token = int(torch.multinomial(probs, 1, generator=self.generator))
            self.so_far.append(token, probability=probs[token].item())

    def take_likeliest(self) -> None:
        """Append the likeliest token, with probability 1, unless the text has ended."""
        if not self.so_far.ended:
            self.so_far.append(int(self.so_far.logits.argmax()), probability=1.0)

    def start_again(self) -> None:
        """Back to the prompt alone."""
        self.so_far = self.start(self.so_far.prompt)

    def with_settings(self) -> Float[Tensor, " vocab"]:
        """The distribution that the next token would be drawn from."""
        settings = {name: value for name, value in self.values.items() if name != "prompt"}
        return next_token_probs(self.so_far.logits[None], **settings)[0]

    def build(self, figure: Figure) -> Sequence[Artist]:
        figure.set_layout_engine("none")
        ax = figure.add_axes((0.2, 0.13, 0.78, 0.85))
        ticks = {"xticks": [0, 0.2, 0.4, 0.6, 0.8, 1], "yticks": []}
        ax.set(xlim=(0, 1.08), ylim=(SHOWN - 0.4, -1.7), xlabel="probability of the next token", **ticks)
        open_axes(ax)
        ax.spines["left"].set_bounds(-0.5, SHOWN - 0.4)
        rows = range(SHOWN)
        self.before = ax.barh(rows, [0.0] * SHOWN, 0.8, fill=False, edgecolor=REFERENCE, label="the model")
        self.after = ax.barh(rows, [0.0] * SHOWN, 0.5, color=POLICY, label="with these settings")
        self.names = [ax.text(-0.01, row, "", ha="right", va="center", parse_math=False) for row in rows]
        self.numbers = [ax.text(0, row, "", va="center", fontsize="small") for row in rows]
        self.title = ax.text(-0.25, -1.0, "", ha="left", fontsize="large", parse_math=False)
        ax.legend(handles=[self.before, self.after], frameon=False, loc="lower right")
        return [*self.before, *self.after, *self.numbers]

    def move(self, prompt, **settings):
        if prompt != self.so_far.prompt:
            self.so_far = self.start(prompt)
        plain, self.now = self.so_far.logits.softmax(-1), self.with_settings()
        top = plain.topk(SHOWN)
        for row, (before, after) in enumerate(zip(top.values.tolist(), self.now[top.indices].tolist(), strict=True)):
            self.before[row].set_width(before)
            self.after[row].set_width(after)
            self.numbers[row].set_text(f"{after:.3f}")
            self.numbers[row].set_x(max(before, after) + 0.01)
        if self.so_far.ids != self.written:
            self._write(token_words(self.tokenizer, top.indices))

    def describe(self, prompt, **settings):
        text, said = self.so_far, ""
        if text.appended:
            said = (
                f"Drawn so far: “{self.tokenizer.decode(text.appended)}”. The model gives it probability "
                f"{math.exp(text.model_logp):.3g} ({text.model_logp:.2f} nats), the settings of its draws "
                f"{math.exp(text.drawn_logp):.3g}. "
            )
        if text.ended:
            return said + "The text has ended."
        best, kept = self.now.argmax(), int((self.now > 0).sum())
        (word,) = token_words(self.tokenizer, [int(best)])
        can = f"{kept} tokens can" if kept > 1 else "Only one token can"
        return f"{said}{can} come next; the likeliest is “{word}” with probability {self.now[best]:.3f}."

    def _write(self, words: Sequence[str]) -> None:
        """Draw the text and the names of its next tokens with what stays while a slider moves."""
        text = drawable(self.so_far.text)
        self.title.set_text(text if len(text) <= LONGEST_TITLE else "…" + text[1 - LONGEST_TITLE :])
        for name, word in zip(self.names, words, strict=True):
            name.set_text(drawable(word))
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(self.canvas.figure.bbox)
        self.written = list(self.so_far.ids)


WORDS = 13
SHAPES = {  # a model's probabilities of thirteen words, likeliest first, up to a constant factor
    "sure, with a tail": [0.8] + [0.2 / 12] * 12,  # the truth after "Shanghai is a city in"
    "steep: each half of the last": [2.0**-rank for rank in range(WORDS)],
    "almost flat": [1 - 0.04 * rank for rank in range(WORDS)],
}


class Cutting(Explorer):
    """Thirteen words before and after temperature, top-k and top-p: what is cut off, and the entropy of the rest."""

    size = (10.0, 3.4)
    page_controls = ("shape", "temperature", "top_p")

    def make_controls(self):
        style = {"description_width": "initial"}
        shape = W.Dropdown(options=list(SHAPES), description="the model is", style=style)
        return {"shape": shape, **sampling_controls()}

    def build(self, figure):
        bars, sums = figure.subplots(1, 2)
        ranks = range(1, WORDS + 1)
        self.before = bars.bar(ranks, [0.0] * WORDS, 0.9, fill=False, edgecolor=REFERENCE, label="the model")
        self.after = bars.bar(ranks, [0.0] * WORDS, 0.6, color=POLICY, label="what is drawn from")
        bars.set(ylabel="probability", ylim=(0, 1.02))
        bars.legend(frameon=False)
        (self.level,) = sums.plot([0.5, WORDS + 0.5], [1, 1], color=REFERENCE, linestyle="--", label="top-p")
        (self.sums,) = sums.plot(ranks, [0.0] * WORDS, color=TRUTH, marker="o", label="sum of the likeliest")
        (self.border,) = sums.plot([0, 0], [0, 1.05], color=REFERENCE, label="what is right of it is cut")
        sums.set(ylabel="probability", xlim=(0.5, WORDS + 0.7), ylim=(0, 1.05))
        sums.legend(frameon=False, loc="lower right")
        for ax in (bars, sums):
            ax.set(xlabel="word, likeliest first", xticks=ranks)
            open_axes(ax)
        return [*self.before, *self.after, self.level, self.sums, self.border]

    def move(self, shape, temperature, top_k, top_p):
        scores = torch.tensor([SHAPES[shape]], dtype=torch.float64).log()
        self.model = scores.softmax(-1)[0]
        offered = next_token_probs(scores, temperature=temperature, top_k=top_k)[0]  # what top-p chooses from
        self.drawn = next_token_probs(scores, temperature=temperature, top_k=top_k, top_p=top_p)[0]
        self.kept = int((self.drawn > 0).sum())
        set_heights(self.before, self.model.tolist())
        set_heights(self.after, self.drawn.tolist())
        self.sums.set_ydata(offered.cumsum(0))
        self.level.set_ydata([top_p, top_p])
        self.border.set_xdata([self.kept + 0.5] * 2)

    def describe(self, **values):
        log_model, log_drawn = self.model.log(), self.drawn.log()
        before, after = entropy(log_model), entropy(log_drawn)
        return (
            f"{self.kept} of {WORDS} words stay, to which the model gave {self.model[: self.kept].sum():.3f}. "
            f"Entropy {before.item():z.2f} nats before, {after.item():z.2f} after: as open as {before.exp():.1f} and {after.exp():.1f} "
            f"equally likely words. KL(drawn || model) is {kl_divergence(log_drawn, log_model).item():z.3f} nats."
        )


RATE = 2.0  # of a gradient step


class Imitating(Explorer):
    """A model of two answers, right and wrong, and the corpus that it imitates: where cross-entropy is least."""

    size = (10.0, 3.4)

    def make_controls(self):
        return {
            "truth": W.FloatSlider(value=0.8, min=0, max=1, step=0.01, description="share right in the corpus"),
            "score": W.FloatSlider(value=-2, min=-6, max=6, step=0.05, description="the model's score for right"),
        }

    def make_buttons(self):
        return {"Take a gradient step": self.step}

    def step(self) -> None:
        """The score less RATE times the gradient of the cross-entropy, which is pi - p."""
        truth, score = self.controls["truth"].value, self.controls["score"]
        score.value = score.value - RATE * (1 / (1 + math.exp(-score.value)) - truth)

    def build(self, figure):
        curve, bars = figure.subplots(1, 2, width_ratios=(3, 2))
        self.grid = torch.linspace(0.002, 0.998, 250, dtype=torch.float64)
        (self.curve,) = curve.plot(self.grid, self.grid, color=POLICY, label="cross-entropy H(p, π)")
        (self.floor,) = curve.plot([0, 1], [0, 0], color=TRUTH, linestyle=":", label="entropy H(p)")
        (self.gap,) = curve.plot([0, 0], [0, 0], color=REFERENCE, linewidth=4, label="KL(p || π)")
        (self.point,) = curve.plot([0], [0], "o", color=POLICY)
        curve.set(xlim=(0, 1), ylim=(0, 4), xlabel="the model's probability of right", ylabel="nats")
        curve.legend(frameon=False, loc="upper center")
        self.corpus = bars.bar([0, 1], [0, 0], 0.8, fill=False, edgecolor=TRUTH, label="corpus p")
        self.says = bars.bar([0, 1], [0, 0], 0.5, color=POLICY, label="model π")
        bars.set(ylim=(0, 1.25), ylabel="probability", xticks=[0, 1], xticklabels=["right", "wrong"])
        bars.legend(frameon=False, loc="upper center", ncols=2)
        open_axes(curve, bars)
        return [self.curve, self.floor, self.gap, self.point, *self.corpus, *self.says]

    def move(self, truth, score):
        p = torch.tensor([truth, 1 - truth], dtype=torch.float64)
        log_q = torch.tensor([score, 0.0], dtype=torch.float64).log_softmax(-1)
        self.q, self.loss, self.least = log_q.exp(), cross_entropy(p.log(), log_q).item(), entropy(p.log()).item()
        models = torch.stack([self.grid, 1 - self.grid], dim=-1).log()
        self.curve.set_ydata(cross_entropy(p.log().expand_as(models), models))
        self.floor.set_ydata([self.least] * 2)
        self.gap.set_data([self.q[0]] * 2, [self.least, self.loss])
        self.point.set_data([self.q[0]], [self.loss])
        for bars, heights in ((self.corpus, p), (self.says, self.q)):
            set_heights(bars, heights.tolist())

    def describe(self, truth, score):
        return (
            f"The corpus is right in {truth:.2f} of its answers, the model in {self.q[0]:.3f}. Cross-entropy "
            f"{self.loss:.3f} = entropy {self.least:z.3f} + KL {self.loss - self.least:z.3f} nats; its gradient on the "
            f"score is π − p = {self.q[0].item() - truth:+z.3f}."
        )
