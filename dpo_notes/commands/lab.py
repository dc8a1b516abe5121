"""dpo-notes lab: open the notebooks in JupyterLab

examples:
  dpo-notes lab
  dpo-notes lab --no-browser --port 9000
"""

import argparse

from dpo_notes.maths.errors import InputError
from dpo_notes.places import NOTEBOOKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All words that follow go to JupyterLab, options and --help too."""
    parser.prefix_chars = "\0"  # so that argparse takes no word for an option of its own
    parser.add_argument("arguments", nargs="*", help="passed on to JupyterLab")


def run(args: argparse.Namespace) -> int:
    """Open JupyterLab on the notebooks, with this Python as their kernel; returns when it is shut down."""
    if not NOTEBOOKS.is_dir():
        raise InputError(f"no notebooks in {NOTEBOOKS}; expected a clone of the repository")
    from jupyterlab.labapp import main  # within this process, so that Ctrl-C and its question reach JupyterLab alone

    main([str(NOTEBOOKS), *args.arguments])
    return 0
