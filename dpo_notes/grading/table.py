"""Marks as two CSV files for a spreadsheet: one row for each submission, and one for each answer."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from dpo_notes.grading.marks import Marked
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_table

MARKS = ("who", "notebook", "right", "of")  # the beginning of the first line of either file
WORDS = ("who", "exercise", "mark", "what the checker says", "file")


def tabled(marked: Iterable[Marked], path: Path, *, exercises: int) -> Iterator[Marked]:
    """The same marks, each yielded once it is in both tables: grades.csv, and grades.words.csv beside it.

    A row of grades.csv is who, notebook, right, of, the mark of each exercise (`exercises` columns), remark and file; a
    row of grades.words.csv is the checker's comment on one answer. Raises InputError, before anything is written or
    marked, if a file of that name exists and is not such a table.
    """
    for file, beginning in ((path, MARKS), (words_file(path), WORDS)):
        _refuse_foreign(file, beginning)
    numbered = (f"exercise {k}" for k in range(1, exercises + 1))
    # The byte-order mark tells spreadsheets that the file is UTF-8.
    with (
        path.resolve().open("w", encoding="utf-8-sig", newline="") as marks,
        words_file(path).resolve().open("w", encoding="utf-8-sig", newline="") as words,
    ):
        _write(marks, [*MARKS, *numbered, "remark", "file"])
        _write(words, WORDS)
        for one in marked:
            paper, row = one.submission, list(one.marks.values())
            row += [""] * (exercises - len(row))
            _write(marks, [paper.who, paper.number, one.right, len(one.verdicts), *row, one.remark, paper.file])
            for number, verdict in one.verdicts.items():
                _write(words, [paper.who, number, one.marks[number], verdict, paper.file])
            yield one


def words_file(path: Path) -> Path:
    """The file for the checker's comments: grades.words.csv beside grades.csv."""
    return path.with_name(f"{path.stem}.words{path.suffix or '.csv'}")


def _refuse_foreign(path: Path, beginning: tuple[str, ...]) -> None:
    real = Path(os.path.realpath(path))  # `resolve` raises for circular links
    where = str(path) if real == path.absolute() else f"{path}, which is {real},"
    if not real.parent.is_dir():
        raise InputError(f"{where}: {real.parent} is not a folder; expected one for {path.name}")
    if not os.path.lexists(real):
        return
    if not real.is_file():
        raise InputError(f"{where} is not a file; expected the name of a table to write")
    with real.open("rb") as file:
        start = file.read(512)
    if start and not start.decode("utf-8-sig", "replace").startswith(",".join(beginning)):
        raise InputError(f"{where} already exists and is not a table of marks; we do not touch it: name another file")


def _write(file: TextIO, row: list | tuple) -> None:
    csv.writer(file).writerow([for_table(value) if isinstance(value, str) else value for value in row])
    file.flush()
