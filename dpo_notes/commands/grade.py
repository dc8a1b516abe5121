"""dpo-notes grade: run the checkers over a class's returned notebooks

examples:
  dpo-notes grade submissions -o grades.csv
      every notebook in the folder, and in one folder for each student; what the checkers say in grades.words.csv
  dpo-notes grade submissions --seconds 60 --at-once 4
      a minute for each notebook at most, four at the same time

Each notebook runs in a process of its own, which says its answers; this process judges them. notebooks/TEACHING.md says
what a notebook is kept from, and on which system.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to mark, where to write, and what a notebook may take."""
    parser.add_argument("folder", type=Path, help="returned notebooks (.ipynb), or one folder for each student")
    parser.add_argument("-o", "--output", type=Path, default=Path("grades.csv"), help="default grades.csv")
    parser.add_argument("--seconds", type=int, default=300, help="for one notebook at most (default 300)")
    parser.add_argument("--memory", type=float, default=4.0, metavar="GB", help="for one notebook at most (default 4)")
    parser.add_argument(
        "--at-once", type=int, default=1, metavar="COUNT", help="notebooks at the same time (default 1)"
    )


def run(args: argparse.Namespace) -> int:
    """Mark every submission, and write both files anew after each one."""
    from dpo_notes.maths.errors import InputError
    from dpo_notes.teaching.grading import confinement
    from dpo_notes.teaching.grading.marks import mark_all
    from dpo_notes.teaching.grading.table import words_file, write_marks, write_words

    for option in ("seconds", "memory", "at_once"):
        if not getattr(args, option) > 0:
            raise InputError(f"--{option.replace('_', '-')} is {getattr(args, option)}; expected a number above 0")
    if not args.output.parent.is_dir():
        raise InputError(f"{args.output.parent} is no folder; expected one for {args.output.name}")
    if not confinement.prefix():
        print(
            "note: this system offers no network of their own to the notebooks; they are kept from it as well as can be"
        )
    if not confinement.offers_confined_files():
        print("note: this system cannot hide files from the notebooks: keep solutions and marks on another machine")
    marked = []
    limits = {"seconds": args.seconds, "memory": int(args.memory * 2**30)}
    for one in mark_all(args.folder, at_once=args.at_once, **limits):
        marked.append(one)
        write_marks(marked, args.output)
        write_words(marked, words_file(args.output))
        print(
            f"{one.submission.file}: {one.right} of {len(one.verdicts)}{one.remark and '; ' + one.remark}", flush=True
        )
    print(f"{len(marked)} notebooks: {args.output}, and what the checkers say in {words_file(args.output)}")
    return 0
