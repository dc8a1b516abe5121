"""Student and number of a notebook; links, odd names and odd folders are rows with a reason, and nobody is missing."""

import os
from pathlib import Path

import pytest
from papers import IMPORT, NOTEBOOKS, RIGHT_ANSWER, notebook

from dpo_notes.grading.submissions import DEEPEST, MOST, submissions
from dpo_notes.maths.errors import InputError


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


def test_a_link_to_another_file_is_not_followed_however_it_is_made(tmp_path):
    solution, other = NOTEBOOKS / "solutions" / "00_start_here.ipynb", tmp_path / "00_anna.ipynb"
    other.write_text(notebook(RIGHT_ANSWER))
    targets = {"bob": solution, "cleo": other, "dan": tmp_path / "nothing", "ed": Path("../00_anna.ipynb")}
    for name, target in targets.items():
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
    named = {who: any(words in problem for words in WORDS[who]) for who, problem in found.items()}
    assert named == dict.fromkeys(WORDS, True)
    assert len(submissions(tmp_path)) == 9 + MOST + 1


WORDS = {
    "deep": ["nested folders"],
    "empty": ["no notebook"],
    "text": ["no notebook"],
    "pipe": ["not a file"],
    "folder": ["no notebook"],
    "zipped_00_start_here.zip": ["no notebook"],
    "loud": ["not a readable notebook"],
    "loop": ["a link"],
    "circle": ["a link"],
    "many": ["more than", "not a readable notebook"],
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


def test_folders_within_folders_without_end_are_looked_into_without_recursion(tmp_path):
    here = os.getcwd()
    (tmp_path / "eve").mkdir()
    os.chdir(tmp_path / "eve")
    try:
        for _ in range(1500):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(here)
        [one] = submissions(tmp_path)
        assert "nested folders" in one.problem
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
        (tmp_path / name).write_text("\ufeff" + paper, encoding="utf-8")  # some editors write a byte-order mark
    anna, mine = submissions(tmp_path)
    assert (anna.number, anna.problem) == ("00", "")
    assert mine.problem.startswith("it has no check(…) of an exercise")


def test_a_folder_without_notebooks_is_one_clear_line(tmp_path):
    with pytest.raises(InputError, match="no notebook"):
        submissions(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        submissions(tmp_path / "nowhere")
