"""Returned notebooks are marked by the package, whatever they do: right, wrong, broken, endless and hostile ones."""

import csv
import math
import sys
import time
from pathlib import Path

import pytest
from papers import IMPORT, NOTEBOOKS, RIGHT_ANSWER, notebook, solved

from dpo_notes.cli import main
from dpo_notes.grading import marks, sandbox
from dpo_notes.grading.marks import mark_all
from dpo_notes.grading.run_submission import MAX_OUTPUT, OUT_OF_TIME, Limits, Outcome
from dpo_notes.grading.submissions import Submission, submissions
from dpo_notes.maths.errors import InputError

LIMITS = Limits(seconds=60, memory=2 * 2**30)
LIMIT = 30  # seconds for one notebook of the class below; the endless one takes them all
pytest_plugins = ["sandbox_fixtures"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"cells": [',
        b"[" * 100_000,
        b'{"cells": 3}',
        b'{"cells": [{"cell_type": "code"}]}',
        b"\xff\xfe\x00",
        b"{}",
    ],
    ids=["empty", "cut off", "nested", "no cells", "no source", "no text", "no notebook"],
)
def test_what_cannot_be_run_is_a_row_with_the_reason_and_no_marks(tmp_path, content):
    (tmp_path / "bob_00_start_here.ipynb").write_bytes(content)
    (one,) = mark_all(submissions(tmp_path), LIMITS)
    assert one.remark.startswith("not a readable notebook: ")
    assert (one.submission.who, one.right, set(one.marks.values())) == ("bob", 0, {"not tried"})


@pytest.mark.parametrize(("at_once", "threads"), [(1, 8), (3, 2), (16, 1)])
def test_notebooks_that_run_at_once_share_the_threads(monkeypatch, at_once, threads):
    given = []
    run = lambda _, __, limits, **___: given.append(limits) or Outcome(finished=True)
    monkeypatch.setattr(marks, "run_submission", run)
    limits = Limits(seconds=9, memory=5, threads=8)
    list(mark_all([Submission("a", "a.ipynb", "00")], limits, at_once=at_once))
    assert given == [Limits(seconds=9, memory=5, threads=threads)]


def test_a_notebook_may_take_ten_times_the_median_of_three_others_and_half_a_minute(monkeypatch):
    heard = []

    def run(paper, exercises, limits, **_):
        heard.append(limits.patience())
        time.sleep(0.05 if paper.number == "00" else 0)
        return Outcome(finished=paper.who != "eve")

    monkeypatch.setattr(marks, "run_submission", run)
    papers = [Submission(who, f"{who}.ipynb", "00") for who in ("anna", "ben", "eve", "fay", "zoe")]
    list(mark_all(papers, LIMITS))
    assert heard == [30.0] * 5  # without a pace as long, though then it is only the first try
    marks.mark(papers[0], LIMITS, [0.2] * 2)
    assert heard.pop() == math.inf
    monkeypatch.setattr(marks, "LEAST", 0.0)
    pace = [0.2, 0.3, 0.9]
    marks.mark(papers[0], LIMITS, pace)
    assert heard[-1] == pytest.approx(3.0) and len(pace) == 4 and 0.05 < pace[3] < 5


def test_a_notebook_that_is_slow_before_there_is_a_pace_is_tried_again_at_the_end(monkeypatch):
    """Endless ones that come first cost half a minute each, not all of --seconds; an honest slow one loses nothing."""
    heard = []

    def run(paper, exercises, limits, **_):
        heard.append((paper.who, limits.patience()))
        slow = paper.who in ("abe", "ada") and limits.patience() < 200
        return Outcome(stopped=f"{OUT_OF_TIME} after 30 seconds") if slow else Outcome(finished=True)

    monkeypatch.setattr(marks, "run_submission", run)
    papers = [Submission(who, f"{who}.ipynb", "00") for who in ("abe", "ada", "eve", "fay", "zoe")]
    assert [one.submission.who for one in mark_all(papers, LIMITS)] == ["eve", "fay", "zoe", "abe", "ada"]
    assert heard == [(who, 30.0) for who in ("abe", "ada", "eve", "fay", "zoe", "abe", "ada")]
    heard.clear()
    list(mark_all(papers[:3], LIMITS))  # too few for a pace
    list(mark_all(papers, Limits(seconds=20, memory=5)))  # it could not be shorter
    assert [seconds for _, seconds in heard] == [math.inf] * 6 + [
        30.0
    ] * 2  # the last two: by the pace of the first three


def test_whatever_goes_wrong_with_one_notebook_stays_with_it(monkeypatch):
    def run(paper, *_, **__):
        if paper.who == "eve":
            raise RecursionError("maximum recursion depth exceeded")
        return Outcome(answers={"00.2": {"value": 0.75}}, finished=True)

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
            "import dpo_notes.teaching.checking as c, dpo_notes.lessons.start_here.exercises as s",
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
    "connects": (
        [RIGHT_ANSWER, "import socket\nsocket.create_connection(('192.0.2.1', 80), 5)"], "raises", {"00.2": "right"}
    ),
    "fills memory": ([RIGHT_ANSWER, "x = bytearray(3 * 2**30)"], "MemoryError", {"00.2": "right"}),
    "floods": (
        [RIGHT_ANSWER, f"for _ in range(9): check('00.1', 'x' * {MAX_OUTPUT // 8})"],
        "stopped: its answers",
        {"00.2": "right"},
    ),
    "loops": ([RIGHT_ANSWER, "while True: pass"], "stopped: out of time", {"00.2": "right"}),
    "nests": (
        [RIGHT_ANSWER, "import os\nfor _ in range(1500):\n os.mkdir('d')\n os.chdir('d')\nos.chmod('..', 0)"],
        "",
        {"00.2": "right"},
    ),
    "looks": ([IMPORT, "check('00.1', open(SOLUTION).read())"], "FileNotFoundError", {"00.1": "not tried"}),
    "imports": (
        [IMPORT, "from dpo_notes.lessons.start_here.exercises import EXERCISES\ncheck('00.1', EXERCISES[0].expected)"],
        "ModuleNotFoundError",
        {"00.1": "not tried"},
    ),
    "asks": (
        [IMPORT, "from dpo_notes.teaching.checking import exercise\ncheck('00.1', exercise('00.1').expected)"],
        "ModuleNotFoundError",
        {"00.1": "not tried"},
    ),
    "removes": ([RIGHT_ANSWER, "import os\nos.remove(OTHER)"], "FileNotFoundError", {"00.2": "right"}),
    "touches": ([RIGHT_ANSWER, "import os\nos.utime(OTHER)\nopen(OTHER)"], "FileNotFoundError", {"00.2": "right"}),
    "writes marks": ([RIGHT_ANSWER, "open(GRADES, 'w').write('who')"], "FileNotFoundError", {"00.2": "right"}),
    "forges": (
        [
            RIGHT_ANSWER,
            "import os\nline = b'{\"number\": \"00.1\", \"mark\": \"right\"}\\n'",
            "for fd in range(3, 40):\n try: os.write(fd, line)\n except OSError: pass",
        ],
        "",
        {"00.1": "wrong", "00.2": "right"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def graded(tmp_path_factory, bubblewrap) -> dict[str, dict[str, str]]:
    """A class of its own, marked by the command: the rows of its two files by student."""
    folder = tmp_path_factory.mktemp("class")
    returned, grades = folder / "returned", folder / "grades.csv"
    name = "00_start_here.ipynb"
    places = {"SOLUTION": NOTEBOOKS / "solutions" / name, "OTHER": returned / "anna" / name, "GRADES": grades}
    preface = "\n".join(f"{name} = {str(path)!r}" for name, path in places.items())
    papers = {"anna": solved("00"), "zoe": solved("00")}
    papers |= {"blank": notebook(f"{IMPORT}\nanswer = ...\ncheck('00.1', answer)")}
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
def test_right_answers_are_right_whatever_is_marked_before_and_after(graded, who):
    row = graded[who]
    assert (row["right"], row["of"], row["remark"]) == ("6", "6", "")


@pytest.mark.notebooks
def test_a_blank_and_a_broken_notebook_have_rows_of_their_own(graded):
    assert graded["blank"]["right"] == "0" and graded["blank"]["exercise 1"] == "not tried"
    assert graded["broken"]["remark"].startswith("not a readable notebook")


@pytest.mark.notebooks
@pytest.mark.parametrize("who", HOSTILE)
def test_a_hostile_notebook_gains_no_mark_and_keeps_what_it_answered_before(graded, who):
    _, remark, marks = HOSTILE[who]
    row = graded[who]
    found = {number: row[f"exercise {number[3:]}"] for number in marks}
    assert (found, int(row["right"]), remark in row["remark"]) == (marks, list(marks.values()).count("right"), True)


def test_without_a_sandbox_nothing_is_run_unless_you_ask_for_it(tmp_path, monkeypatch, capsys):
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
