"""dpo-notes lab: open a copy of the notebooks in JupyterLab

examples:
  dpo-notes lab
      copies the notebooks to my_notebooks/, where you can change them, and opens that folder
  dpo-notes lab ~/dpo
      the same in a folder of your choice
  dpo-notes lab --no-browser --port 9000
      options go to JupyterLab
  dpo-notes lab --here
      opens the originals, for authors

It never overwrites a file of yours. If a notebook is newer than your copy, the new edition is saved beside it.
"""

import argparse
import shutil
from importlib.util import find_spec
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.places import NOTEBOOKS, WORK

COPIED = ("[0-9]*.ipynb", "[a-z]*/[0-9]*.ipynb", "*.md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The first word may be a folder or --here; all others go to JupyterLab, including options and --help."""
    parser.prefix_chars = "\0"  # so that argparse treats nothing as an option of ours
    parser.add_argument(
        "arguments", nargs="*", metavar="FOLDER | --here | word", help="where to, and what JupyterLab gets"
    )


def run(args: argparse.Namespace) -> int:
    """Open JupyterLab on a copy of the notebooks, with this Python as their kernel; returns when it shuts down."""
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
    from jupyterlab.labapp import main  # in this process, so that only JupyterLab handles Ctrl-C

    main([str(folder), *words])
    return 0


def lay_out(path: Path) -> Path:
    """Copy every notebook that the folder at `path` lacks; returns the folder. Existing files are never changed.

    The folder's marker holds the checksum of each edition that was copied. If the original has changed since, the new
    edition is saved beside the copy as NAME.newer.ipynb. Raises InputError for a folder that is neither empty nor ours.
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
            print(f"{name}: there is a newer edition, saved beside your copy as {beside.name}")
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
