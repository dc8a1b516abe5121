"""The explorer of notebook 00: the recorded DPO runs of the embedded GPT-2 and their answers, by beta."""

import textwrap
from collections.abc import Sequence

import ipywidgets as W
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.plots.frontier import Point, Record, kl_axis, seed_means
from dpo_notes.plots.runs import POLICY, REFERENCE, open_axes
from dpo_notes.teaching.live import Explorer

SHARES = {"accuracy": "agrees with raters", "win_rate": "beats the base model", "grammatical": "grammatical"}
LETTERS_A_LINE, LINES_AN_ANSWER = 46, 5


class BetaRuns(Explorer):
    """A recorded DPO run for each beta: reward and KL, three shares, and an answer to a chosen prompt.

    record: from `dpo-notes frontier`. Reward, KL and shares are means over its seeds; answers are the first seed's.
    """

    size = (10.5, 3.9)
    draws_once = True

    def __init__(self, record: Record):
        self.record = record
        self.runs = {mean["value"]: mean for mean in seed_means(record["points"], "dpo")}
        self.base = next(point for point in record["points"] if point["method"] == "base")
        super().__init__()

    def make_controls(self) -> dict[str, W.ValueWidget]:
        betas = [(f"{beta:g}", beta) for beta in self.runs]
        prompts = self.record["prompts"]
        return {
            "beta": W.SelectionSlider(options=betas, value=max(self.runs), description="beta"),
            "prompt": W.Dropdown(options=prompts, value=prompts[-1], description="prompt"),
        }

    def build(self, figure: Figure) -> Sequence[Artist]:
        trade, shares, words = figure.subplots(1, 3, width_ratios=[3, 2, 4])
        points = [self.base, *sorted(self.runs.values(), key=lambda run: run["kl"])]
        trade.plot([p["kl"] for p in points], [p["reward"] for p in points], color=POLICY, marker=".", alpha=0.4)
        trade.plot(self.base["kl"], self.base["reward"], color=REFERENCE, marker="x")
        trade.annotate("base model", (self.base["kl"], self.base["reward"]), (8, -4), textcoords="offset points")
        trade.set(xlabel="KL from the reference (nats)", ylabel="true reward (nats)")
        trade.margins(0.15)
        kl_axis(trade)
        (self.here,) = trade.plot([], [], color=POLICY, marker="o", markersize=11)
        self.bars = shares.barh(list(SHARES.values()), [0.0] * len(SHARES), color=POLICY)
        shares.set(xlim=(0, 1.2), xticks=[0, 0.5, 1], xlabel="share")
        shares.invert_yaxis()
        open_axes(trade, shares)
        self.numbers = [shares.text(0, row, "", va="center") for row in range(len(SHARES))]
        words.axis("off")
        self.words_shown = words.text(0, 1, "", va="top", fontsize=9, parse_math=False, transform=words.transAxes)
        return [self.here, *self.bars, *self.numbers, self.words_shown]

    def move(self, *, beta: float, prompt: str) -> None:
        run = self.runs[beta]
        self.here.set_data([run["kl"]], [run["reward"]])
        for name, bar, number in zip(SHARES, self.bars, self.numbers, strict=True):
            share = self._share(name, beta)
            bar.set_width(share)
            number.set(x=share + 0.02, text=f"{share:.2f}")
        answers = {
            "The base model": self._answer(self.base, prompt),
            f"DPO, beta {beta:g}": self._answer(self._first(beta), prompt),
        }
        blocks = [f"{speaker}:\n{_wrapped(text)}" for speaker, text in answers.items()]
        self.words_shown.set_text("\n\n".join([_wrapped(prompt), *blocks]))

    def describe(self, *, beta: float, prompt: str) -> str:
        run = self.runs[beta]
        answer = self._answer(self._first(beta), prompt).strip()
        return (
            f"DPO with beta {beta:g}: true reward {run['reward']:.2f} nats (base model {self.base['reward']:.2f}) at a KL of "
            f"{run['kl']:.2f} nats; {run['grammatical']:.0%} grammatical. To “{prompt}” it says: “{answer}”"
        )

    def _runs_of(self, beta: float) -> list[Point]:
        return [point for point in self.record["points"] if point["method"] == "dpo" and point["value"] == beta]

    def _first(self, beta: float) -> Point:
        return self._runs_of(beta)[0]

    def _share(self, name: str, beta: float) -> float:
        runs = self._runs_of(beta)
        return sum(run[name] for run in runs) / len(runs)

    def _answer(self, point: Point, prompt: str) -> str:
        """The first answer of a recorded point to one of the recorded prompts."""
        prompts = self.record["prompts"]
        return point["samples"][prompts.index(prompt) * len(point["samples"]) // len(prompts)]


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text.strip(), LETTERS_A_LINE)
    return "\n".join(lines[:LINES_AN_ANSWER]) + (" …" if len(lines) > LINES_AN_ANSWER else "")
