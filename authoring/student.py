"""python run.py student [FOLDER]    a copy for a class: the notebooks without hints and without any way to a solution

Without a name: build/student. The copy holds run.py, the package, the data, and the notebooks with
their blanks. It leaves out the benchmarks, notebooks/solutions, every hint with its link, the teacher's guide,
tests and tools. The checkers work as usual, so the package contains the answers. An earlier copy is replaced if nobody
has worked in it; any other folder is left alone.
"""

import shutil
import sys
from pathlib import Path

import nbformat
from addresses import COLAB, notebooks
from nbformat import NotebookNode

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_terminal
from dpo_notes.places import ROOT
from dpo_notes.training.output_folder import atomic_folder, check_folder

STUDENT = ROOT / "build" / "student"
COPIED = (
    "run.py",
    "pyproject.toml",
    "hatch_build.py",
    "requirements.txt",
    "environment.yml",
    "LICENSE",
    "LICENSE-TEXT",
)
COPIED += ("data", "dpo_notes")
HINT = "hint"  # the tag of a cell with a hint, which also holds the link to the solution
README = """\
# dpo-notes, student copy

You need Python 3.11 or newer; nothing else.

```
python run.py lab      # sets up the folder .venv (once), then opens your copy of the notebooks, my_notebooks
python run.py doctor   # says whether this machine is ready
```

Begin with [00 Start here](notebooks/00_start_here.ipynb). In each exercise put your answer in place of the dots and run the
cell: it says "right", or which mistake it looks like. Save the notebook, and return the file (.ipynb) from my_notebooks under its own
name.
"""


def without_hints(notebook: NotebookNode) -> NotebookNode:
    """The notebook for students, without the hints and the cell for Colab, which would fetch the solutions."""
    kept = [cell for cell in notebook.cells if HINT not in cell.metadata.get("tags", []) and cell.id != COLAB]
    for count, cell in enumerate((cell for cell in kept if cell.cell_type == "code"), start=1):
        cell.execution_count = count
    return NotebookNode({**notebook, "cells": kept})


def build(folder: Path) -> int:
    """Write the copy to `folder`, and return its number of notebooks.

    Raises InputError if the folder holds anything but an unchanged copy, or lies within what is copied.
    """
    place = check_folder(folder, maker="student")
    for name in COPIED:
        if place.is_relative_to(ROOT / name):
            raise InputError(f"{folder} lies in {ROOT / name}, which is copied; expected a folder elsewhere")
    with atomic_folder(folder, maker="student") as aside:
        return write_copy(aside)


def write_copy(folder: Path) -> int:
    """Fill an empty folder with the copy; returns its number of notebooks."""
    (folder / "notebooks").mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    (folder / "README.md").write_text(README, encoding="utf-8", newline="\n")
    paths = notebooks()
    for path in paths:
        notebook = without_hints(nbformat.read(path, as_version=4))
        nbformat.validate(notebook)
        text = nbformat.writes(notebook) + "\n"
        (folder / "notebooks" / path.name).write_text(text, encoding="utf-8", newline="\n")
    return len(paths)


def main(words: list[str]) -> int:
    folder = Path(words[0]) if words else STUDENT
    try:
        count = build(folder)
    except (InputError, OSError) as error:
        print(f"run.py student: {for_terminal(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    print(f"{folder}: {count} notebooks without hints and solutions, the package and the data")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
