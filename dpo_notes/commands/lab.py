"""dpo-notes lab: open a copy of the notebooks in JupyterLab

examples:
  dpo-notes lab
      the notebooks in my_notebooks/, where they are yours to change
  dpo-notes lab ~/dpo
      in a folder of your choice
  dpo-notes lab --no-browser --port 9000
      words that begin with - go to JupyterLab
  dpo-notes lab --here
      the originals, for those who write them

No file of yours is ever written over: where the notebooks are newer than your copy, the new edition is laid beside it.
"""

import argparse
import shutil
from importlib.util import find_spec
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.places import NOTEBOOKS, WORK

COPIED = ("[0-9]*.ipynb", "[a-z]*/[0-9]*.ipynb", "*.md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All words but a folder at the beginning go to JupyterLab, options and --help too."""
    parser.prefix_chars = "\0"  # so that argparse takes no word for an option of its own
    parser.add_argument(
        "arguments", nargs="*", metavar="FOLDER | --here | word", help="where to, and what JupyterLab gets"
    )


def run(args: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the notebooks, with this Python as their kernel; returns when it is shut down."""
    if not NOTEBOOKS.is_dir():
        raise InputError(f"no notebooks in {NOTEBOOKS}; expected a whole clone of the repository, or the wheel")
    if find_spec("jupyterlab") is None:
        raise InputError(
            "JupyterLab is not installed; expected what the notebooks need: pip install 'dpo-notes[notebooks]'"
        )
    words = list(args.arguments)
    if words[:1] == ["--here"]:
        folder, words = NOTEBOOKS, words[1:]
    else:
        named = bool(words) and not words[0].startswith("-")
        folder = lay_out(Path(words.pop(0)) if named else WORK / "my_notebooks")
    from jupyterlab.labapp import main  # within this process, so that Ctrl-C and its question reach JupyterLab alone

    main([str(folder), *words])
    return 0


def lay_out(path: Path) -> Path:
    """The folder at `path` with a copy of every notebook; says what was copied. Files that are there stay as they are.

    The folder's marker holds the checksum of each edition that was laid there. Where the original has changed since, the
    new edition is laid beside the copy, as NAME.newer.ipynb. Raises InputError for a folder that is not empty and not ours.
    """
    from dpo_notes.training.folder_marker import Marker, read_marker, sha256, write_marker
    from dpo_notes.training.output_folder import take_folder

    folder = take_folder(path, maker="lab")
    editions = dict(read_marker(folder).files)
    copied = 0
    for source in sorted(path for pattern in COPIED for path in NOTEBOOKS.glob(pattern)):
        name, edition = source.relative_to(NOTEBOOKS).as_posix(), sha256(source)
        target, known = folder / name, editions.get(name)
        editions[name] = edition
        if not target.exists():
            _copy(source, target)
            copied += 1
        elif known != edition and sha256(target) != edition:
            beside = _free(target, edition)
            if not beside.exists():
                _copy(source, beside)
            print(f"{name} has a newer edition, which is laid beside your copy: {beside.name}")
    write_marker(folder, Marker("lab", editions))
    print(f"{folder}: {copied} files copied from {NOTEBOOKS}" if copied else f"{folder}: your copy of the notebooks")
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a file in one step, so that no half of it is ever taken for a copy."""
    from dpo_notes.training.output_folder import replaced_file

    target.parent.mkdir(exist_ok=True)
    with replaced_file(target) as aside:
        shutil.copyfile(source, aside)


def _free(target: Path, edition: str) -> Path:
    """NAME.newer.ipynb, or the first of NAME.newer-2.ipynb and so on that is not there or is this very edition."""
    from dpo_notes.training.folder_marker import sha256

    names = (f"{target.stem}.newer{f'-{k}' if k > 1 else ''}{target.suffix}" for k in range(1, 10_000))
    places = (target.with_name(name) for name in names)
    return next(place for place in places if not place.exists() or sha256(place) == edition)
