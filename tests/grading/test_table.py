"""The tables of marks: a row as soon as it is known, no formula, and no other file is touched."""

import csv

import pytest
from papers import RIGHT_ANSWER, notebook

from dpo_notes.cli import main
from dpo_notes.grading.marks import Marked
from dpo_notes.grading.submissions import Submission
from dpo_notes.grading.table import tabled
from dpo_notes.teaching.checking import NOT_TRIED, RIGHT


def test_the_tables_hold_one_row_each_and_no_formula(tmp_path):
    """What a student can write, such as a file's name, never becomes a formula in the teacher's spreadsheet."""
    paper = Submission(who="=HYPERLINK(1)", file="-x.ipynb", number="00", cells=())
    marked = [Marked(paper, {"00.1": RIGHT, "00.2": "not yet: a\nb", "00.3": NOT_TRIED}, remark="@sum\x00(1);=2")]
    assert list(tabled(marked, tmp_path / "grades.csv", exercises=3)) == marked
    rows = list(csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8-sig")))
    marks = {"exercise 1": "right", "exercise 2": "wrong", "exercise 3": "not tried"}
    counts = {"notebook": "00", "right": "1", "of": "3"}
    assert rows == [{"who": "'=HYPERLINK(1)"} | counts | marks | {"remark": "'@sum (1);'=2", "file": "'-x.ipynb"}]
    words = list(csv.reader((tmp_path / "grades.words.csv").open(encoding="utf-8-sig")))
    assert words[2] == ["'=HYPERLINK(1)", "00.2", "wrong", "not yet: a b", "'-x.ipynb"]


def test_a_row_is_in_the_table_before_the_next_notebook_is_marked(tmp_path):
    def coming():
        for who in ("anna", "bob"):
            yield Marked(Submission(who, f"{who}.ipynb", "00"), {"00.1": RIGHT})
            assert who in (tmp_path / "grades.csv").read_text(encoding="utf-8-sig").splitlines()[-1]

    assert len(list(tabled(coming(), tmp_path / "grades.csv", exercises=1))) == 2
    list(tabled([], tmp_path / "grades.csv", exercises=1))  # it is ours: written anew
    assert len((tmp_path / "grades.csv").read_text(encoding="utf-8-sig").splitlines()) == 1


@pytest.mark.parametrize("name", ["thesis.csv", "grades.csv", "link.csv", "folder", "none/grades.csv", "loop.csv"])
def test_marks_are_written_over_no_other_file(tmp_path, name, capsys):
    (tmp_path / "returned").mkdir()
    (tmp_path / "returned" / "00_start_here.ipynb").write_text(notebook(RIGHT_ANSWER))
    (tmp_path / "thesis.csv").write_text("year,title\n")
    (tmp_path / "grades.words.csv").write_text("words of mine")
    (tmp_path / "link.csv").symlink_to(tmp_path / "thesis.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "folder").mkdir()
    before = {path.name: path.read_text() for path in tmp_path.glob("*.csv") if path.exists()}
    assert main(["grade", str(tmp_path / "returned"), "-o", str(tmp_path / name)]) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith("dpo-notes: ")
    assert {path.name: path.read_text() for path in tmp_path.glob("*.csv") if path.exists()} == before
    assert name != "link.csv" or str(tmp_path / "thesis.csv") in said
