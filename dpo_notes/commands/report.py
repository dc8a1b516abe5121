"""What a run leaves to read: its gains as a small table, and its answers before and after side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from dpo_notes.pairs.harmless import for_markdown
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.evaluate import bayes_accuracy
from dpo_notes.training.output_folder import replaced_file
from dpo_notes.worlds.reviews import world as reviews

Rows = Sequence[Mapping[str, float]]


def read_rows(folder: Path) -> list[dict[str, float]]:
    """All rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def best_accuracy(pairs: Sequence[PreferencePair]) -> float | None:
    """The best expected accuracy on these pairs, from the raters' reward; None outside the review world."""
    rewards = true_rewards(pairs)
    return None if rewards is None else bayes_accuracy(*rewards)


def true_rewards(pairs: Sequence[PreferencePair]) -> tuple[Tensor, Tensor] | None:
    """(chosen, rejected): the raters' reward of the responses, in nats; None outside the review world."""
    if not pairs or not all(pair.is_text and reviews.is_prompt(pair.prompt) for pair in pairs):
        return None
    prompts = [pair.prompt for pair in pairs]
    chosen, rejected = [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]
    return reviews.reward(prompts, chosen), reviews.reward(prompts, rejected)


def gains(rows: Rows, *, best: float | None) -> str:
    """A table of the held-out metrics before and after training, with the KL that was paid for the change."""
    evaluations = [row for row in rows if "eval/loss" in row]
    if not evaluations:
        return "no comparisons were held out: nothing to compare"
    first, last = evaluations[0], evaluations[-1]
    lines = [f"{'held out':<34}{'before':>10}{'after':>10}"]
    lines.append(_line("loss (nats)", first, last, "eval/loss", ".3f"))
    lines.append(_line("implicit reward margin (nats)", first, last, "eval/rewards/margins", ".2f"))
    if first["eval/rewards/margins"] == 0:  # policy and reference are one: no pair has a margin, and it can only guess
        lines.append(f"{'accuracy':<34}{'guessing':>10}{last['eval/rewards/accuracies']:>10.1%}")
    else:
        lines.append(_line("accuracy", first, last, "eval/rewards/accuracies", ".1%"))
    if best is not None:
        lines.append(f"{'  best possible accuracy':<34}{'':>10}{best:>10.1%}")
    return "\n".join(lines + speech_lines(first, last))


def speech_lines(first: Mapping[str, float], last: Mapping[str, float]) -> list[str]:
    """The lines of such a table on what a policy says: its KL, and where they are known its true reward and grammar."""
    lines = []
    if "eval/kl" in last:
        lines.append(
            _line("KL from the reference (nats)", first, last, "eval/kl", ".2f") + f"  ± {last['eval/kl_error']:.2f}"
        )
    if "eval/reward" in last:
        lines.append(_line("true reward of samples (nats)", first, last, "eval/reward", ".2f"))
        lines.append(_line("grammatical samples", first, last, "eval/grammatical", ".1%"))
    if "eval/length" in last:
        lines.append(_line("length of samples (tokens)", first, last, "eval/length", ".1f"))
    return lines


def write_samples(path: Path, prompts: Sequence[str], before: Sequence[str], after: Sequence[str]) -> None:
    """A Markdown table of the answers to each prompt before and after training, drawn at temperature 1."""
    lines = ["# Before and after", "", "One answer to each held-out prompt, drawn at temperature 1.", ""]
    lines += ["| prompt | before | after |", "|---|---|---|"]
    lines += ["| " + " | ".join(map(for_markdown, row)) + " |" for row in zip(prompts, before, after, strict=True)]
    with replaced_file(path) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(label: str, first: Mapping[str, float], last: Mapping[str, float], name: str, form: str) -> str:
    return f"{label:<34}{first[name]:>10{form}}{last[name]:>10{form}}"
