"""Returned notebooks are marked by the package, whatever they do: right, wrong, broken, endless and hostile ones."""

import csv
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
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
from dpo_notes.teaching.exercises.checking import FILES, NOT_TRIED, RIGHT, same
from dpo_notes.teaching.grading import confinement, marks
from dpo_notes.teaching.grading.answers import Other, decode, encode, received, reported
from dpo_notes.teaching.grading.marks import Marked, exercises_of, judged, mark_all
from dpo_notes.teaching.grading.run_submission import SAID_AT_MOST, Said, run_submission
from dpo_notes.teaching.grading.submissions import Submission, submissions
from dpo_notes.teaching.grading.table import words_file, write_marks, write_words

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
SECONDS, MEMORY = 60, 2 * 2**30
LIMIT = 30  # seconds for one notebook of the class below; the endless one takes them all
IMPORT = "from dpo_notes.teaching.exercises.checking import check"
RIGHT_ANSWER = f"{IMPORT}\ncheck('00.2', 0.75)"
ALL = [exercise for number in FILES for exercise in exercises_of(number)]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system's own confinement is Linux's")


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
        (notebook("print('right')"), "no check(…) of an exercise"),
    ],
    ids=["empty", "cut off", "nested", "no cells", "no source", "no text", "no notebook", "no exercise"],
)
def test_what_cannot_be_run_is_a_row_with_the_reason_and_no_marks(tmp_path, content, problem):
    (tmp_path / "bob_00_start_here.ipynb").write_bytes(content if isinstance(content, bytes) else content.encode())
    (one,) = mark_all(tmp_path, seconds=SECONDS, memory=MEMORY)
    assert one.remark.startswith(problem)
    assert (one.submission.who, one.right, set(one.marks.values())) == ("bob", 0, {"not tried"})


@pytest.mark.parametrize(("at_once", "threads"), [(1, 8), (3, 2), (16, 1)])
def test_notebooks_that_run_at_once_share_the_threads(tmp_path, monkeypatch, at_once, threads):
    given = []
    monkeypatch.setattr(marks.torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(marks, "run_submission", lambda *_, **settings: given.append(settings) or Said(finished=True))
    (tmp_path / "00_start_here.ipynb").write_text(solved("00"), encoding="utf-8")
    list(mark_all(tmp_path, seconds=SECONDS, memory=MEMORY, at_once=at_once))
    assert given == [{"seconds": SECONDS, "memory": MEMORY, "threads": threads}]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_notebook_runs_to_its_end_where_it_is_marked(tmp_path):
    """As it was given out, two at the same time: nothing that a cell does is refused."""
    for path in NOTEBOOKS.glob("[0-9]*.ipynb"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for row in mark_all(tmp_path, seconds=300, memory=4 * 2**30, at_once=2):
        assert (row.remark, row.right) == ("", 0), row.submission.file


def test_a_folder_without_notebooks_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no notebook"):
        submissions(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        submissions(tmp_path / "nowhere")


def test_the_tables_hold_one_row_each_and_no_formula(tmp_path):
    """What a student can write, such as a file's name, never becomes a formula in the teacher's spreadsheet."""
    paper = Submission(who="=HYPERLINK(1)", file="-x.ipynb", number="00", cells=())
    marked = [Marked(paper, {"00.1": RIGHT, "00.2": "not yet: a\nb", "00.3": NOT_TRIED}, remark="@sum\x00(1)")]
    write_marks(marked, tmp_path / "grades.csv")
    write_words(marked, words_file(tmp_path / "grades.csv"))
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
        | {"exercise 3": "not tried", "remark": "'@sum (1)", "file": "'-x.ipynb"}
    ]
    words = list(csv.reader((tmp_path / "grades.words.csv").open(encoding="utf-8-sig")))
    assert words[2] == ["'=HYPERLINK(1)", "00.2", "wrong", "not yet: a b", "'-x.ipynb"]


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
        [RIGHT_ANSWER, "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)\nos.killpg(0, signal.SIGKILL)"],
        "PermissionError: not in a returned notebook: os.kill",
        {"00.2": "right"},
    ),
    "starts": ([RIGHT_ANSWER, "import os\nwhile True: os.fork()"], "PermissionError", {"00.2": "right"}),
    "connects": ([RIGHT_ANSWER, "import socket\nsocket.create_connection(('192.0.2.1', 80), 5)"], "PermissionError", {"00.2": "right"}),
    "fills memory": ([RIGHT_ANSWER, "x = bytearray(3 * 2**30)"], "MemoryError", {"00.2": "right"}),
    "floods": ([RIGHT_ANSWER, f"for _ in range(9): check('00.1', 'x' * {SAID_AT_MOST // 8})"], "stopped: its answers", {"00.2": "right"}),
    "loops": ([RIGHT_ANSWER, "while True: pass"], "stopped: out of time", {"00.2": "right"}),
    "looks": ([IMPORT, "check('00.1', open(SOLUTION).read())"], "PermissionError", {"00.1": "not tried"}),
    "removes": ([RIGHT_ANSWER, "import os\nos.remove(OTHER)"], "PermissionError", {"00.2": "right"}),
    "writes marks": ([RIGHT_ANSWER, "open(GRADES, 'w').write('who')"], "PermissionError", {"00.2": "right"}),
    "forges": (
        [RIGHT_ANSWER, FORGE := "import os\nfor fd in range(3, 40):\n try: os.write(fd, b'{\"number\": \"00.1\", \"mark\": \"right\"}\\n')\n except OSError: pass"],
        "",
        {"00.1": "wrong", "00.2": "right"},
    ),
}  # fmt: skip
ABLE = [name for name in HOSTILE if name != "looks" or sys.platform.startswith("linux")]


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> dict[str, dict[str, str]]:
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
    papers |= {name: notebook(preface, *cells) for name, (cells, _, _) in HOSTILE.items() if name in ABLE}
    papers["broken"] = papers["anna"][:500]
    for who, text in papers.items():
        (returned / who).mkdir(parents=True)
        (returned / who / "00_start_here.ipynb").write_text(text, encoding="utf-8")
    code = main(["grade", str(returned), "-o", str(grades), "--seconds", str(LIMIT), "--memory", "2", "--at-once", "2"])
    assert code == 0
    assert (returned / "anna" / "00_start_here.ipynb").read_text(encoding="utf-8") == papers["anna"]
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
@pytest.mark.parametrize("who", ABLE)
def test_a_hostile_notebook_gains_no_mark_and_keeps_what_it_answered_before(graded, who):
    _, remark, marks = HOSTILE[who]
    row = graded[who]
    assert remark in row["remark"]
    for number, mark in marks.items():
        assert row[f"exercise {number[3:]}"] == mark, number
    assert int(row["right"]) == list(marks.values()).count("right")


ESCAPES = {
    "moves a file out": "os.replace('a', OUTSIDE)",
    "moves a file in": "os.replace(OUTSIDE, 'b')",
    "links one": "os.link(OUTSIDE, 'b')",
    "removes all": "import shutil; shutil.rmtree(os.path.dirname(OUTSIDE) + '/heap')  # dir_fd",
    "removes beside a folder": "os.remove('file', dir_fd=os.open(os.path.dirname(OUTSIDE), os.O_RDONLY))",
    "makes a database": "sqlite3.connect(OUTSIDE + '.db')",
    "writes": "open(OUTSIDE, 'w')",
    "cuts": "os.truncate(OUTSIDE, 0)",
}


@pytest.mark.notebooks
@pytest.mark.parametrize("code", ESCAPES.values(), ids=ESCAPES)
def test_where_the_system_hides_no_files_python_refuses_to_change_them(tmp_path, code):
    """The audit hook alone. Within the folder all of this is allowed."""
    for place in ("outside", "inside"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "file").write_text("mine")
        (tmp_path / place / "heap" / "deep").mkdir(parents=True)
        (tmp_path / place / "heap" / "deep" / "leaf").write_text("mine")
    (tmp_path / "inside" / "a").write_text("forged")
    start = (
        "import os, sqlite3; from pathlib import Path\n"
        "from dpo_notes.teaching.grading import confinement\n"
        "confinement.refuse_what_no_exercise_needs(Path.cwd())\n"
    )
    where_folders_have_names = sys.platform.startswith("linux") or "dir_fd" not in code
    for place, allowed in (("outside", False), ("inside", where_folders_have_names)):
        script = f"OUTSIDE = {str(tmp_path / place / 'file')!r}\n{start}{code}"
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, cwd=tmp_path / "inside", capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == allowed, done.stderr
        assert allowed or "PermissionError: not in a returned notebook" in done.stderr
    assert (tmp_path / "outside" / "file").read_text() == "mine"
    left = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "outside").rglob("*") if path.is_file()}
    assert left == {"outside/file", "outside/heap/deep/leaf"}


@linux
@pytest.mark.notebooks
def test_a_notebook_ends_with_the_process_that_marks_it(tmp_path):
    """That one is killed (`kill -9`) while the notebook sleeps; a pipe that the notebook holds open then closes."""
    (tmp_path / "returned").mkdir()
    paper = notebook(f"{IMPORT}\ncheck('00.2', 0.75)\nopen('asleep', 'w')\nimport time\ntime.sleep(600)")
    (tmp_path / "returned" / "00_start_here.ipynb").write_text(paper, encoding="utf-8")
    words = ["grade", "returned", "-o", "grades.csv"]
    here = os.environ | {"TMPDIR": str(tmp_path)}  # where the notebook's private folder is made
    grader = subprocess.Popen([sys.executable, "-m", "dpo_notes", *words], cwd=tmp_path, env=here)
    [asleep] = wait_for(lambda: list(tmp_path.glob("dpo-notes-*/asleep")))
    at_work = processes_in(asleep.parent)
    assert at_work
    grader.kill()
    grader.wait()
    wait_for(lambda: not processes_in(asleep.parent))


def processes_in(folder: Path) -> list[str]:
    """The numbers of the processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found += [process.name] if (process / "cwd").readlink() == folder else []
        except OSError:
            pass  # it has ended meanwhile, or is somebody else's
    return found


def wait_for(condition: Callable[[], object], *, seconds: int = 120) -> object:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@linux
@pytest.mark.notebooks
def test_what_goes_past_python_meets_the_system(tmp_path):
    """The C library by hand: it cannot remove or read a file elsewhere, nor reach the process that marks, nor connect."""
    if not confinement.prefix():
        pytest.skip("no namespaces for an ordinary user on this system")
    other = tmp_path / "other.ipynb"
    other.write_text("mine")
    cells = [
        f"{IMPORT}\nimport ctypes, os\nlibc = ctypes.pythonapi\npath = {str(other)!r}.encode()",
        "check('00.1', libc.unlink(path))",
        "check('00.2', libc.open(path, os.O_RDONLY))",
        f"check('00.3', libc.kill({os.getpid()}, 0))",
        "link = ctypes.create_string_buffer(bytes([2, 0, 0, 80, 192, 0, 2, 1]) + bytes(8))",
        "check('00.5', libc.connect(libc.socket(2, 1, 0), link, 16))",
        "import torch\ncheck('00.4', torch.get_num_threads())",
        "if libc.fork() == 0:\n    libc.sleep(600)",
    ]
    paper = Submission("eve", "eve.ipynb", "00", tuple((str(k), cell) for k, cell in enumerate(cells)))
    start = time.monotonic()
    said = run_submission(paper, exercises_of("00"), seconds=LIMIT, memory=MEMORY, threads=1)
    refused = {number: {"value": -1} for number in ("00.1", "00.2", "00.3", "00.5")}
    assert said.answers == refused | {"00.4": {"value": 1}}
    assert said.finished and other.read_text() == "mine"
    assert time.monotonic() - start < 600
