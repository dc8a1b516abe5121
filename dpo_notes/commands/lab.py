"""dpo-notes lab: the notebooks in JupyterLab."""

import argparse
import sys
from pathlib import Path

import dpo_notes

NOTEBOOKS = Path(dpo_notes.__file__).resolve().parent.parent / "notebooks"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All words that follow go to JupyterLab, options too: `dpo-notes lab --no-browser --port 9000`."""
    parser.prefix_chars = "\0"  # so that argparse takes no word for an option of its own
    parser.add_argument("arguments", nargs="*", help="passed on to JupyterLab (its own list: dpo-notes lab --help)")


def run(args: argparse.Namespace) -> int:
    """Open JupyterLab on the notebooks, with this Python as their kernel; returns when it is shut down."""
    if not NOTEBOOKS.is_dir():
        print(f"{NOTEBOOKS} is missing; the notebooks are in a checkout of the repository", file=sys.stderr)
        return 2
    from jupyterlab.labapp import main  # within this process, so that Ctrl-C and its question reach JupyterLab alone

    main([str(NOTEBOOKS), *args.arguments])
    return 0
