"""What tests of folders that are written need: all that stands in one, a stranger's, and the line of a refusal."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dpo_notes.maths.errors import InputError

unix = pytest.mark.skipif(os.name == "nt", reason="links, devices and signals as Unix has them")


def tree(place: Path) -> dict[str, tuple]:
    """Everything at and below a place: kind, mode, time of change, and contents or target."""
    found = {}
    for path in [place, *sorted(place.rglob("*"))]:
        state = path.lstat()
        held = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path)] = (state.st_mode, state.st_mtime_ns, held)
    return found


def stranger(folder: Path) -> Path:
    """A folder of somebody else's, with the names that we use."""
    for name in ("THESIS.txt", "config.json", "samples.md", "frontier.json", "index.html", "model/THESIS.txt",
                 "checkpoint/step-00000001/x", "corpus/corpus.txt", "notebooks/mine.ipynb", ".hidden"):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"my {name}")
    return folder


def refusal(act: Callable) -> str:
    """The one line in which an act is refused."""
    with pytest.raises(InputError) as error:
        act()
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000
    return str(error.value)
