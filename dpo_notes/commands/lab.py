"""dpo-notes lab: open the notebooks in JupyterLab

examples:
  dpo-notes lab
  dpo-notes lab --no-browser --port 9000
"""

import argparse

from dpo_notes.maths.errors import InputError
from dpo_notes.places import NOTEBOOKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that follows goes to JupyterLab, including options and --help."""
    parser.prefix_chars = "\0"  # so that argparse treats nothing as an option of ours
    parser.add_argument("arguments", nargs="*", help="passed on to JupyterLab")


def run(args: argparse.Namespace) -> int:
    """Open JupyterLab on the notebooks, with this Python as their kernel; returns when it shuts down."""
    if not NOTEBOOKS.is_dir():
        raise InputError(f"no notebooks in {NOTEBOOKS}; expected a clone of the repository")
    from jupyterlab.labapp import main  # in this process, so that only JupyterLab handles Ctrl-C

    main([str(NOTEBOOKS), *args.arguments])
    return 0
