"""Prompts from anybody's file, as a person can read and copy them."""

from collections.abc import Sequence
from pathlib import Path

LONGEST_IN_TABLE, LONGEST_IN_COMMAND = 500, 80  # characters
SPECIAL_TO_SHELLS = set('"$`\\!%')


def for_a_table(prompts: Sequence[str]) -> list[str]:
    """The prompts, of long ones the end, which is what the answer follows."""
    return [text if len(text) <= LONGEST_IN_TABLE else "…" + text[-LONGEST_IN_TABLE:] for text in prompts]


def command_to_sample(folder: Path, prompt: str) -> str:
    """The command that has the model of a run answer this prompt, or "…" where it is long or needs escaping."""
    plain = len(prompt) <= LONGEST_IN_COMMAND and prompt.isprintable() and not SPECIAL_TO_SHELLS & set(prompt)
    return f'dpo-notes sample --model {folder / "model"} --prompt "{prompt if plain else "…"}"'
