"""Marks as two CSV files that a spreadsheet opens: one row for each submission, and one for each answer."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from dpo_notes.teaching.grading.marks import Marked


def write_marks(marked: Sequence[Marked], path: Path) -> None:
    """One row for each submission: who, notebook, right, of, the mark of each exercise, remark and file."""
    most = max((len(one.verdicts) for one in marked), default=0)
    header = ["who", "notebook", "right", "of", *(f"exercise {k}" for k in range(1, most + 1)), "remark", "file"]
    rows = []
    for one in marked:
        marks = list(one.marks.values())
        marks += [""] * (most - len(marks))
        paper = one.submission
        rows.append([paper.who, paper.number, one.right, len(one.verdicts), *marks, one.remark, paper.file])
    _write([header, *rows], path)


def write_words(marked: Sequence[Marked], path: Path) -> None:
    """One row for each exercise of each submission: who, exercise, mark, what the checker says, and file."""
    rows = [["who", "exercise", "mark", "what the checker says", "file"]]
    for one in marked:
        for number, words in one.verdicts.items():
            rows.append([one.submission.who, number, one.marks[number], words, one.submission.file])
    _write(rows, path)


def words_file(path: Path) -> Path:
    """Where the checker's words stand: grades.csv has grades.words.csv beside it."""
    return path.with_name(f"{path.stem}.words{path.suffix or '.csv'}")


def _write(rows: list[list], path: Path) -> None:
    """Replace the file in one step, so that one that is there is whole."""
    beside = path.with_name(path.name + ".part")
    with beside.open(
        "w", encoding="utf-8-sig", newline=""
    ) as file:  # the mark at the start tells spreadsheets it is UTF-8
        csv.writer(file).writerows([[_cell(value) for value in row] for row in rows])
    beside.replace(path)


def _cell(value: object) -> object:
    """Text on one line; a text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"[\x00-\x1f\x7f\u2028\u2029]+", " ", value).encode("utf-8", errors="replace").decode("utf-8")
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) else text
