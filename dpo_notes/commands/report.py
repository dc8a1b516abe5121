"""The report of a run: its gains as a small table, and its answers before and after training side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpo_notes.maths.rows import Rows
from dpo_notes.pairs.harmless import for_markdown
from dpo_notes.training.output_folder import replaced_file


def read_rows(folder: Path) -> list[dict[str, float]]:
    """All rows of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def line(label: str, *cells: str) -> str:
    """A line of a table of gains: the metric, its value before and after training, and perhaps a third number."""
    return (f"{label:<34}" + "".join(f"{cell:>10}" for cell in cells)).rstrip()


def gains(rows: Rows, *, best: float | None) -> str:
    """A table of the held-out metrics before and after training, with the KL that training cost."""
    evaluations = [row for row in rows if "eval/loss" in row]
    if not evaluations:
        return "no comparisons were held out: nothing to compare"
    first, last = evaluations[0], evaluations[-1]
    lines = [line("held out", "before", "after")]
    lines.append(_change("loss (nats)", first, last, "eval/loss", ".3f"))
    lines.append(_change("implicit reward margin (nats)", first, last, "eval/rewards/margins", ".2f"))
    if first["eval/rewards/margins"] == 0:  # policy equals reference: all margins are 0, so it can only guess
        lines.append(line("accuracy", "guessing", f"{last['eval/rewards/accuracies']:.1%}"))
    else:
        lines.append(_change("accuracy", first, last, "eval/rewards/accuracies", ".1%"))
    if best is not None:
        lines.append(line("  best possible accuracy", "", f"{best:.1%}"))
    return "\n".join(lines + speech_lines(first, last))


def speech_lines(first: Mapping[str, float], last: Mapping[str, float]) -> list[str]:
    """Table lines about a policy's samples: KL, true reward and grammar where they are known, and length."""
    lines = []
    if "eval/kl" in last:
        change = _change("KL from the reference (nats)", first, last, "eval/kl", ".2f")
        lines.append(f"{change}  ± {last['eval/kl_error']:.2f}")
    if "eval/reward" in last:
        lines.append(_change("true reward of samples (nats)", first, last, "eval/reward", ".2f"))
        lines.append(_change("grammatical samples", first, last, "eval/grammatical", ".1%"))
    if "eval/length" in last:
        lines.append(_change("length of samples (tokens)", first, last, "eval/length", ".1f"))
    return lines


def write_samples(path: Path, prompts: Sequence[str], before: Sequence[str], after: Sequence[str]) -> None:
    """Write a Markdown table of one answer to each prompt before and after training, sampled at temperature 1."""
    lines = ["# Before and after", "", "One answer to each held-out prompt, drawn at temperature 1.", ""]
    lines += ["| prompt | before | after |", "|---|---|---|"]
    lines += ["| " + " | ".join(map(for_markdown, row)) + " |" for row in zip(prompts, before, after, strict=True)]
    with replaced_file(path) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _change(label: str, first: Mapping[str, float], last: Mapping[str, float], name: str, form: str) -> str:
    return line(label, f"{first[name]:{form}}", f"{last[name]:{form}}")
