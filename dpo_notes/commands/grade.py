"""dpo-notes grade: run the checkers over a class's returned notebooks

examples:
  dpo-notes grade submissions -o grades.csv
      every notebook in the folder and in each student's folder; the checkers' comments go to grades.words.csv
  dpo-notes grade submissions --seconds 60 --at-once 4
      at most a minute for each notebook, four at the same time

Each notebook runs in its own sandbox (bubblewrap, on Linux) and reports its answers; this process judges them.
notebooks/TEACHING.md says what a notebook cannot do there, and how to mark in a container on other systems.
"""

import argparse
import math
import os
from pathlib import Path

AT_MOST = {"seconds": 86_400, "memory": 4096, "at_once": 1024}  # a day, 4 TB; more must be a typo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to mark, where to write, and the limits for a notebook."""
    parser.add_argument("folder", type=Path, help="returned notebooks (.ipynb), or one folder for each student")
    parser.add_argument("-o", "--output", type=Path, default=Path("grades.csv"), help="default grades.csv")
    parser.add_argument("--seconds", type=int, default=300, help="limit for one notebook (default 300)")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GB", help="limit for one notebook (default 4)")
    parser.add_argument("--at-once", type=int, default=1, metavar="COUNT", help="notebooks at a time (default 1)")
    unconfined = "run without a sandbox: a notebook can then do whatever you can"
    parser.add_argument("--unconfined", action="store_true", help=unconfined)


def run(args: argparse.Namespace) -> int:
    """Mark every submission; each mark is written to both tables at once."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads leave the processor to the notebooks
    import torch

    from dpo_notes.grading import sandbox
    from dpo_notes.grading.marks import mark_all
    from dpo_notes.grading.run_submission import Limits
    from dpo_notes.grading.submissions import submissions
    from dpo_notes.grading.table import tabled, words_file
    from dpo_notes.maths.errors import InputError
    from dpo_notes.pairs.harmless import for_terminal
    from dpo_notes.teaching.checking import exercises_of

    for option, most in AT_MOST.items():
        value = getattr(args, option)
        if not (math.isfinite(value) and 0 < value <= most):
            raise InputError(f"--{option.replace('_', '-')} is {value}; expected a number above 0, and at most {most}")
    if not args.output.name:
        raise InputError(f"-o {args.output}: not a file name; expected one such as grades.csv")
    found = submissions(args.folder)
    hidden = [args.folder, args.output, words_file(args.output)]
    if not args.unconfined and (problem := sandbox.why_not(hidden)):
        raise InputError(problem)
    limits = Limits(args.seconds, int(args.memory * 2**30), torch.get_num_threads(), args.unconfined)
    marked = mark_all(found, limits, at_once=args.at_once, hidden=hidden)
    for one in tabled(marked, args.output, exercises=max(len(exercises_of(one.number)) for one in found)):
        line = f"{one.submission.file}: {one.right} of {len(one.verdicts)}{one.remark and '; ' + one.remark}"
        print(for_terminal(line), flush=True)
    print(for_terminal(f"{len(found)} notebooks: {args.output}; the checkers' comments: {words_file(args.output)}"))
    return 0
