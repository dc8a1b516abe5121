"""Returned notebooks are marked by the package, whatever they do: right, wrong, broken, endless and hostile ones."""

import csv
import json
import math
import os
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook

from dpo_notes.cli import main
from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.exercises.checking import FILES, NOT_TRIED, RIGHT, exercises_of, same
from dpo_notes.teaching.grading import marks, sandbox
from dpo_notes.teaching.grading.answers import Other, decode, encode, received, reported
from dpo_notes.teaching.grading.marks import Marked, judged, mark_all
from dpo_notes.teaching.grading.run_submission import SAID_AT_MOST, Limits, Said
from dpo_notes.teaching.grading.submissions import DEEPEST, MOST, Submission, submissions
from dpo_notes.teaching.grading.table import tabled

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LIMITS = Limits(seconds=60, memory=2 * 2**30)
LIMIT = 30  # seconds for one notebook of the class below; the endless one takes them all
IMPORT = "from dpo_notes.teaching.exercises.checking import check"
RIGHT_ANSWER = f"{IMPORT}\ncheck('00.2', 0.75)"
ALL = [exercise for number in FILES for exercise in exercises_of(number)]
pytest_plugins = ["sandbox_fixtures"]


def notebook(*cells: str) -> str:
    return nbformat.writes(new_notebook(cells=[new_code_cell(cell) for cell in cells]))


def solved(number: str) -> str:
    (path,) = (NOTEBOOKS / "solutions").glob(f"{number}_*.ipynb")
    return path.read_text(encoding="utf-8")


# Answers travel as data.


@pytest.mark.parametrize(
    "value",
    [
        0.1,
        math.inf,
        -3,
        True,
        None,
        "polite",
        [1, [2.5, "a"]],
        torch.tensor([0.1, 2.0]),
        torch.tensor(3),
        torch.eye(2).bool(),
    ],
    ids=str,
)
def test_an_answer_arrives_as_it_was_sent(value):
    arrived = decode(json.loads(json.dumps(encode(value))))
    assert type(arrived) is type(value)
    if isinstance(value, torch.Tensor):
        assert arrived.dtype == value.dtype and torch.equal(arrived, value)
    else:
        assert arrived == value


@pytest.mark.parametrize("value", [Fraction(1, 2), Decimal("0.5"), np.float32(0.5), [Fraction(1, 2)]], ids=repr)
def test_numbers_of_any_kind_are_judged_as_in_the_notebook(value):
    wanted = [0.5] if isinstance(value, list) else 0.5
    assert same(value, wanted, 1e-6) and same(decode(json.loads(json.dumps(encode(value)))), wanted, 1e-6)


def test_small_integers_arrive():
    assert decode(encode(np.array([3, 4], dtype=np.int16))).tolist() == [3, 4]


def test_a_text_of_a_kind_of_its_own_is_a_text():
    arrived = decode(json.loads(json.dumps(encode([np.str_("polite")]))))
    assert arrived == ["polite"] and type(encode(np.str_("polite"))) is str


def test_something_else_arrives_as_its_printed_form_and_can_do_nothing():
    class Trap:
        def __repr__(self):
            return "trap" * 1000

    arrived = decode(json.loads(json.dumps(encode(Trap()))))
    assert isinstance(arrived, Other) and not callable(arrived) and len(repr(arrived)) <= 80


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"tensor": [[1], [2, 3]], "dtype": "float32"},
        {"tensor": [1], "dtype": "object"},
        {"tensor": [10**30], "dtype": "int64"},
    ]
    + [{"other": 3}, [[[[[[[[[[[[1]]]]]]]]]]]]],
    ids=str,
)
def test_forged_data_is_an_answer_to_nothing(data):
    for exercise in (ALL[0], next(one for one in ALL if one.cases), next(one for one in ALL if one.rule)):
        for report in (data, {"value": data}, {"results": data}, {"results": [data]}):
            said = Said(answers={exercise.number: json.loads(json.dumps(report))})
            assert judged(exercise, said).startswith("not yet: ")


@pytest.mark.notebooks
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.number)
def test_the_expected_answer_of_every_exercise_is_right_after_the_journey(one):
    """A function travels as what it returns for the arguments that were sent to it."""
    answer = one.expected if one.cases or not callable(one.expected) else one.expected()
    cases = json.loads(json.dumps(encode(one.cases))) if one.cases else None
    report = json.loads(json.dumps(reported(answer, cases)))
    assert judged(one, Said(answers={one.number: report})) == RIGHT


@pytest.mark.parametrize("one", [one for one in ALL if one.cases], ids=lambda one: one.number)
def test_a_mistaken_function_is_named_after_the_journey(one):
    report = json.loads(json.dumps(reported(one.mistakes[0].gives, encode(one.cases))))
    assert judged(one, Said(answers={one.number: report})) == f"not yet: {one.mistakes[0].says}"


def test_a_function_that_raises_and_a_blank_are_told_as_in_the_notebook():
    one = next(one for one in ALL if one.cases)
    cases = encode(one.cases)
    raised = Said(answers={one.number: reported(lambda *arguments: {}["a"], cases)})
    assert judged(one, raised) == "not yet: your function raises KeyError: 'a'"
    assert judged(one, Said(answers={one.number: reported(lambda *arguments: ..., cases)})) == NOT_TRIED
    assert judged(one, Said(answers={one.number: reported(..., cases)})) == NOT_TRIED
    assert judged(one, Said()) == NOT_TRIED
    assert received({"results": [1.0]}, asks_for_function=False) == Other("a function")


# Whose notebook it is, and which.


@pytest.mark.parametrize(
    ("path", "who", "number"),
    [
        ("alice/06_bradley_terry.ipynb", "alice", "00"),
        ("alice/week 3/mine.ipynb", "alice", "00"),
        ("alice_00_start_here.ipynb", "alice", "00"),
        ("alice_123_00_start_here-1.ipynb", "alice_123", "00"),
        ("my work.ipynb", "my work", "00"),
    ],
)
def test_a_submission_knows_its_student_and_its_notebook(tmp_path, path, who, number):
    """By folder or file name; and by the exercises that are checked in it, whatever its name."""
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text(notebook(RIGHT_ANSWER))
    (one,) = submissions(tmp_path)
    assert (one.who, one.number, one.problem, one.file) == (who, number, "", path)
    assert [source for _, source in one.cells] == [RIGHT_ANSWER]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not a notebook"),
        ('{"cells": [', "not a notebook"),
        ("[" * 100_000, "not a notebook"),
        ('{"cells": 3}', "not a notebook"),
        ('{"cells": [{"cell_type": "code"}]}', "not a notebook"),
        (b"\xff\xfe\x00", "not a notebook"),
        ("{}", "not a notebook"),
    ],
    ids=["empty", "cut off", "nested", "no cells", "no source", "no text", "no notebook"],
)
def test_what_cannot_be_run_is_a_row_with_the_reason_and_no_marks(tmp_path, content, problem):
    (tmp_path / "bob_00_start_here.ipynb").write_bytes(content if isinstance(content, bytes) else content.encode())
    (one,) = mark_all(submissions(tmp_path), LIMITS)
    assert one.remark.startswith(problem)
    assert (one.submission.who, one.right, set(one.marks.values())) == ("bob", 0, {"not tried"})


@pytest.mark.parametrize(("at_once", "threads"), [(1, 8), (3, 2), (16, 1)])
def test_notebooks_that_run_at_once_share_the_threads(monkeypatch, at_once, threads):
    given = []
    monkeypatch.setattr(
        marks, "run_submission", lambda _, __, limits, **___: given.append(limits) or Said(finished=True)
    )
    limits = Limits(seconds=9, memory=5, threads=8)
    list(mark_all([Submission("a", "a.ipynb", "00")], limits, at_once=at_once))
    assert given == [Limits(seconds=9, memory=5, threads=threads)]


def test_whatever_goes_wrong_with_one_notebook_stays_with_it(monkeypatch):
    def run(paper, *_, **__):
        if paper.who == "eve":
            raise RecursionError("maximum recursion depth exceeded")
        return Said(answers={"00.2": {"value": 0.75}}, finished=True)

    monkeypatch.setattr(marks, "run_submission", run)
    papers = [Submission(who, f"{who}.ipynb", "00") for who in ("anna", "eve", "zoe")]
    assert [(one.right, one.remark) for one in mark_all(papers, LIMITS)] == [
        (1, ""),
        (0, "could not be run: RecursionError: maximum recursion depth exceeded"),
        (1, ""),
    ]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("bubblewrap")
def test_every_notebook_runs_to_its_end_where_it_is_marked(tmp_path):
    """As it was given out, two at the same time: nothing that a cell does is refused."""
    for path in NOTEBOOKS.glob("[0-9]*.ipynb"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for row in mark_all(submissions(tmp_path), Limits(seconds=300, memory=4 * 2**30, threads=2), at_once=2):
        assert (row.remark, row.right) == ("", 0), row.submission.file


# Links, and folders made to be hard to read.


def test_a_link_to_another_file_is_not_followed_however_it_is_made(tmp_path):
    solution, other = NOTEBOOKS / "solutions" / "00_start_here.ipynb", tmp_path / "00_anna.ipynb"
    other.write_text(notebook(RIGHT_ANSWER))
    for name, target in {
        "bob": solution,
        "cleo": other,
        "dan": tmp_path / "nothing",
        "ed": Path("../00_anna.ipynb"),
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "00_start_here.ipynb").symlink_to(target)
    (tmp_path / "fay").symlink_to(NOTEBOOKS / "solutions")
    (tmp_path / "gus").mkdir()
    (tmp_path / "gus" / "week").symlink_to(tmp_path)
    os.link(other, tmp_path / "bob" / "hard.ipynb")
    found = submissions(tmp_path)
    assert len(found) == 8 and all("a link" in one.problem for one in found)
    assert not [one for one in found if one.cells]


def test_nobody_is_missing_and_nothing_that_is_no_notebook_is_opened(tmp_path):
    deep = tmp_path / "deep"
    for _ in range(DEEPEST + 2):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "answers.docx").write_text("mine")
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "00_start_here.ipynb")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "00_start_here.ipynb").mkdir()
    (tmp_path / "zipped_00_start_here.zip").write_text("")
    (tmp_path / "loud_00_start_here.IPYNB").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / "again").symlink_to(tmp_path / "circle")
    (tmp_path / "grades.csv").write_text("who")
    (tmp_path / "many").mkdir()
    for number in range(MOST + 20):
        (tmp_path / "many" / f"{number}.ipynb").write_text("")
    found = {one.who: one.problem for one in submissions(tmp_path)}
    assert {who: any(words in problem for words in WORDS[who]) for who, problem in found.items()} == dict.fromkeys(
        WORDS, True
    )
    assert len(submissions(tmp_path)) == 9 + MOST + 1


WORDS = {
    "deep": ["folders within each other"],
    "empty": ["no notebook"],
    "text": ["no notebook"],
    "pipe": ["not a file"],
    "folder": ["no notebook"],
    "zipped_00_start_here.zip": ["no notebook"],
    "loud": ["not a notebook"],
    "loop": ["a link"],
    "circle": ["a link"],
    "many": ["more than", "not a notebook"],
}


def test_names_too_long_to_open_are_a_row_and_the_others_are_read(tmp_path, monkeypatch):
    (tmp_path / "anna_00_start_here.ipynb").write_text(notebook(RIGHT_ANSWER))
    (tmp_path / "eve").mkdir()
    monkeypatch.chdir(tmp_path / "eve")
    for _ in range(DEEPEST - 1):
        os.mkdir("d" * 255)
        os.chdir("d" * 255)
    Path("x" * 249 + ".ipynb").write_text(notebook(RIGHT_ANSWER))
    anna, eve = submissions(tmp_path)
    assert not anna.problem and "name too long" in eve.problem
    os.remove("x" * 249 + ".ipynb")  # no path is short enough for what cleans up


def test_folders_within_folders_without_end_are_looked_into_without_calling_oneself(tmp_path):
    here = os.getcwd()
    (tmp_path / "eve").mkdir()
    os.chdir(tmp_path / "eve")
    try:
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
        [one] = submissions(tmp_path)
        assert "folders within each other" in one.problem
    finally:  # from the inside out, as no path is long enough
        os.chdir(tmp_path / "eve")
        while Path("d").exists():
            os.rename("d", "e")
            if Path("e/d").exists():
                os.rename("e/d", "d")
            os.rmdir("e")
        os.chdir(here)


def test_a_notebook_without_a_check_is_run_if_its_name_says_which_it_is(tmp_path):
    """Whoever calls `check` in a loop has answers too."""
    paper = notebook(f"{IMPORT}\nfor number in ('00.2',): check(number, 0.75)")
    for name in ("anna_00_start_here.ipynb", "mine.ipynb"):
        (tmp_path / name).write_text(
            "\ufeff" + paper, encoding="utf-8"
        )  # with a byte-order mark, as some editors write
    anna, mine = submissions(tmp_path)
    assert (anna.number, anna.problem) == ("00", "")
    assert mine.problem.startswith("no check(…) of an exercise")


def test_a_folder_without_notebooks_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no notebook"):
        submissions(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        submissions(tmp_path / "nowhere")


def test_the_tables_hold_one_row_each_and_no_formula(tmp_path):
    """What a student can write, such as a file's name, never becomes a formula in the teacher's spreadsheet."""
    paper = Submission(who="=HYPERLINK(1)", file="-x.ipynb", number="00", cells=())
    marked = [Marked(paper, {"00.1": RIGHT, "00.2": "not yet: a\nb", "00.3": NOT_TRIED}, remark="@sum\x00(1);=2")]
    assert list(tabled(marked, tmp_path / "grades.csv", exercises=3)) == marked
    rows = list(csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8-sig")))
    assert rows == [
        {
            "who": "'=HYPERLINK(1)",
            "notebook": "00",
            "right": "1",
            "of": "3",
            "exercise 1": "right",
            "exercise 2": "wrong",
        }
        | {"exercise 3": "not tried", "remark": "'@sum (1);'=2", "file": "'-x.ipynb"}
    ]
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


@pytest.mark.parametrize(
    ("option", "value"),
    [("--memory", "inf"), ("--memory", "nan"), ("--memory", "1e300"), ("--memory", "-1"), ("--seconds", "0")]
    + [("--seconds", "9" * 30), ("--at-once", "0"), ("--at-once", "100000")],
)
def test_an_absurd_limit_is_one_clear_line(tmp_path, option, value, capsys):
    assert main(["grade", str(tmp_path), option, value]) == 2
    assert capsys.readouterr().err.startswith(f"dpo-notes: {option} is ")


# A class.

HOSTILE = {
    # what it does, and the remark that its row has; each answers 00.2 rightly first, or not at all
    "patches": (
        [
            "import dpo_notes.teaching.exercises.checking as c, dpo_notes.teaching.exercises.start_here as s",
            "c.verdict = lambda *a: 'right'\ns.EXERCISES = ()\nc.same = lambda *a: True",
            f"{IMPORT}\ncheck('00.1', 5)\nprint('00.1: right')",
        ],
        "",
        {"00.1": "wrong"},
    ),
    "exits": ([RIGHT_ANSWER, "import os\nos._exit(0)", "check('00.1', 1)"], "its process ended", {"00.2": "right"}),
    "raises": ([RIGHT_ANSWER, "1 / 0", "nonsense ("], "raises ZeroDivisionError", {"00.2": "right"}),
    "kills": (
        [RIGHT_ANSWER, "import os, signal\nos.kill(1, signal.SIGKILL)\nos.kill(-1, signal.SIGKILL)"],
        "ProcessLookupError",
        {"00.2": "right"},
    ),
    "starts": ([RIGHT_ANSWER, "import os\nwhile True: os.fork()"], "PermissionError", {"00.2": "right"}),
    "connects": ([RIGHT_ANSWER, "import socket\nsocket.create_connection(('192.0.2.1', 80), 5)"], "raises", {"00.2": "right"}),
    "fills memory": ([RIGHT_ANSWER, "x = bytearray(3 * 2**30)"], "MemoryError", {"00.2": "right"}),
    "floods": ([RIGHT_ANSWER, f"for _ in range(9): check('00.1', 'x' * {SAID_AT_MOST // 8})"], "stopped: its answers", {"00.2": "right"}),
    "loops": ([RIGHT_ANSWER, "while True: pass"], "stopped: out of time", {"00.2": "right"}),
    "nests": (
        [RIGHT_ANSWER, "import os\nfor _ in range(1500):\n os.mkdir('d')\n os.chdir('d')\nos.chmod('..', 0)"],
        "",
        {"00.2": "right"},
    ),
    "looks": ([IMPORT, "check('00.1', open(SOLUTION).read())"], "FileNotFoundError", {"00.1": "not tried"}),
    "imports": (
        [IMPORT, "from dpo_notes.teaching.exercises.start_here import EXERCISES\ncheck('00.1', EXERCISES[0].expected)"],
        "ModuleNotFoundError",
        {"00.1": "not tried"},
    ),
    "asks": (
        [IMPORT, "from dpo_notes.teaching.exercises.checking import exercise\ncheck('00.1', exercise('00.1').expected)"],
        "ModuleNotFoundError",
        {"00.1": "not tried"},
    ),
    "removes": ([RIGHT_ANSWER, "import os\nos.remove(OTHER)"], "FileNotFoundError", {"00.2": "right"}),
    "touches": ([RIGHT_ANSWER, "import os\nos.utime(OTHER)\nopen(OTHER)"], "FileNotFoundError", {"00.2": "right"}),
    "writes marks": ([RIGHT_ANSWER, "open(GRADES, 'w').write('who')"], "FileNotFoundError", {"00.2": "right"}),
    "forges": (
        [RIGHT_ANSWER, FORGE := "import os\nfor fd in range(3, 40):\n try: os.write(fd, b'{\"number\": \"00.1\", \"mark\": \"right\"}\\n')\n except OSError: pass"],
        "",
        {"00.1": "wrong", "00.2": "right"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory, bubblewrap) -> dict[str, dict[str, str]]:
    """A class of its own, marked by the command: the rows of its two files by student."""
    folder = tmp_path_factory.mktemp("class")
    returned, grades = folder / "returned", folder / "grades.csv"
    places = {
        "SOLUTION": NOTEBOOKS / "solutions" / "00_start_here.ipynb",
        "OTHER": returned / "anna" / "00_start_here.ipynb",
    }
    places["GRADES"] = grades
    preface = "\n".join(f"{name} = {str(path)!r}" for name, path in places.items())
    papers = {
        "anna": solved("00"),
        "zoe": solved("00"),
        "blank": notebook(f"{IMPORT}\nanswer = ...\ncheck('00.1', answer)"),
    }
    papers |= {name: notebook(preface, *cells) for name, (cells, _, _) in HOSTILE.items()}
    papers["broken"] = papers["anna"][:500]
    for who, text in papers.items():
        (returned / who).mkdir(parents=True)
        (returned / who / "00_start_here.ipynb").write_text(text, encoding="utf-8")
    stand = {path: path.stat() for path in returned.rglob("*")}
    code = main(["grade", str(returned), "-o", str(grades), "--seconds", str(LIMIT), "--memory", "2", "--at-once", "2"])
    assert code == 0
    assert {path: path.stat()[:8] + path.stat()[8:] for path in returned.rglob("*")} == stand
    rows = {row["who"]: row for row in csv.DictReader(grades.open(encoding="utf-8-sig"))}
    assert sorted(rows) == sorted(papers)
    return rows


@pytest.mark.notebooks
@pytest.mark.parametrize("who", ["anna", "zoe"])
def test_right_answers_are_right_whoever_is_marked_before_and_after(graded, who):
    row = graded[who]
    assert (row["right"], row["of"], row["remark"]) == ("6", "6", "")


@pytest.mark.notebooks
def test_a_blank_and_a_broken_notebook_have_rows_of_their_own(graded):
    assert graded["blank"]["right"] == "0" and graded["blank"]["exercise 1"] == "not tried"
    assert graded["broken"]["remark"].startswith("not a notebook that can be read")


@pytest.mark.notebooks
@pytest.mark.parametrize("who", HOSTILE)
def test_a_hostile_notebook_gains_no_mark_and_keeps_what_it_answered_before(graded, who):
    _, remark, marks = HOSTILE[who]
    row = graded[who]
    assert remark in row["remark"]
    for number, mark in marks.items():
        assert row[f"exercise {number[3:]}"] == mark, number
    assert int(row["right"]) == list(marks.values()).count("right")


def test_without_a_sandbox_nothing_is_run_unless_one_asks_for_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "00_start_here.ipynb").write_text(notebook(f"open({str(tmp_path / 'trace')!r}, 'w')\n{RIGHT_ANSWER}"))
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["grade", str(tmp_path), "-o", str(tmp_path / "grades.csv")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "bubblewrap" in said and "--unconfined" in said
    assert not (tmp_path / "trace").exists() and not (tmp_path / "grades.csv").exists()
    assert main([*words, "--unconfined"]) == 0
    [row] = csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8-sig"))
    assert (row["right"], row["remark"]) == ("1", "run without a sandbox") and (tmp_path / "trace").exists()


@pytest.mark.usefixtures("bubblewrap")
@pytest.mark.parametrize("folder", ["/", sys.prefix, str(sandbox.PACKAGE.parent)])
def test_a_folder_that_holds_python_or_the_package_cannot_be_hidden_and_is_refused(folder):
    with pytest.raises(InputError, match="folder of its own"):
        sandbox.why_not([Path(folder)])


@pytest.mark.parametrize("output", ["", ".", "/", ".."])
def test_an_output_without_a_name_is_one_clear_line(tmp_path, output, capsys):
    (tmp_path / "00_start_here.ipynb").write_text(notebook(RIGHT_ANSWER))
    assert main(["grade", str(tmp_path), "-o", output]) == 2
    assert capsys.readouterr().err.count("\n") == 1
