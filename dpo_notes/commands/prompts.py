"""Prompts from any file, shown so that they can be read and copied safely."""

from collections.abc import Sequence
from pathlib import Path

LONGEST_IN_TABLE, LONGEST_IN_COMMAND = 500, 80  # characters
SPECIAL_TO_SHELLS = set('"$`\\!%')


def for_a_table(prompts: Sequence[str]) -> list[str]:
    """The prompts; of a long one only the end, because the answer follows it."""
    return [text if len(text) <= LONGEST_IN_TABLE else "…" + text[-LONGEST_IN_TABLE:] for text in prompts]


def command_to_sample(folder: Path, prompt: str) -> str:
    """The command that lets the run's model answer this prompt; "…" stands for one that is long or needs escaping."""
    plain = len(prompt) <= LONGEST_IN_COMMAND and prompt.isprintable() and not SPECIAL_TO_SHELLS & set(prompt)
    return f'dpo-notes sample --model {folder / "model"} --prompt "{prompt if plain else "…"}"'
