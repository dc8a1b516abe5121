"""Where the repository keeps the small GPT-2, its tokenizer and its comparisons."""

from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.places import DATA

EMBEDDED = "embedded"


def data_folder() -> Path:
    """The repository's `data/`, from any working directory. Raises InputError where the package came without it."""
    if not (DATA / "gpt2-embedded").is_dir():
        raise InputError(
            f"no embedded model in {DATA}; expected a clone of the repository, installed with `pip install -e .`"
        )
    return DATA
