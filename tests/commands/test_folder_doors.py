"""Every command and job that writes a folder goes through the door: none touches what somebody else put there."""

import os
from pathlib import Path

import build_site
import pytest
import slides
import student
from folders import refusal, stranger, tree

import run
from dpo_notes.cli import main, parser
from dpo_notes.commands import COMMANDS
from dpo_notes.commands.pretrain import PART, PARTS
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.places import ROOT
from dpo_notes.training.folder_marker import MARKER, Marker, not_as_we_left_it, read_marker
from dpo_notes.training.output_folder import atomic_folder, take_folder

DOORS = {  # the options that name a folder to write, by command; each is tried below
    "train": {"--output"},
    "reward-model": {"--output"},
    "ppo": {"--output"},
    "pretrain": {"--output"},
    "frontier": {"--jobs", "--output"},
}
OTHER_DOORS = {"grade": {"folder", "--output"}}  # a folder to read and a file to write: test_grade.py has their tests
JOBS_WITH_A_FOLDER = {"slides": (slides, "SLIDES"), "site": (build_site, "SITE"), "student": (student, "STUDENT")}
JOBS_WITHOUT = {"test", "lint", "audit", "notebooks", "bench"}


def commands() -> dict[str, object]:
    return next(action.choices for action in parser()._actions if isinstance(action.choices, dict))


TRIED = [(command, option, []) for command in DOORS for option in sorted(DOORS[command])]
RESUMABLE = [command for command in DOORS if "--resume" in commands()[command]._option_string_actions]
TRIED += [(command, option, ["--resume"]) for command, option, _ in TRIED if command in RESUMABLE]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_that_names_a_place_is_known_here(command):
    """A new command, or option, fails until it has its line in DOORS, and goes through the door."""
    actions = commands()[command]._actions
    paths = {
        max(action.option_strings, key=len, default=action.dest)
        for action in actions
        if action.type is Path or {"--output", "--jobs", "-o"} & set(action.option_strings)
    }
    assert paths == (DOORS | OTHER_DOORS).get(command, set())


def test_every_job_of_run_py_is_known_here():
    assert set(run.JOBS) == set(COMMANDS) | set(JOBS_WITH_A_FOLDER) | JOBS_WITHOUT


@pytest.mark.parametrize(("command", "option", "resume"), TRIED)
def test_a_strangers_folder_is_refused_by_every_command_before_anything_is_read(
    tmp_path, monkeypatch, capsys, command, option, resume
):
    stranger(tmp_path / "thesis")
    monkeypatch.chdir(tmp_path)
    others = [word for name in DOORS[command] - {option} for word in (name, "new")]
    loads = "--model" in commands()[command]._option_string_actions  # then these would be told, were they read first
    words = ["--model", "no/such/model", "--data", "no/such/file"] if loads else []
    before = tree(tmp_path)
    assert main([command, option, "thesis", *others, *resume, *words]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("dpo-notes: thesis holds .hidden, and nothing says that dpo-notes made it; expected ")
    assert said.err.count("\n") == 1 and said.out == ""
    assert tree(tmp_path) == before


@pytest.mark.parametrize("job", JOBS_WITH_A_FOLDER)
def test_a_strangers_folder_is_refused_by_slides_site_and_student(tmp_path, monkeypatch, capsys, job):
    module, place = JOBS_WITH_A_FOLDER[job]
    monkeypatch.setattr(module, place, stranger(tmp_path / "thesis"))
    before = tree(tmp_path)
    assert module.main([]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"run.py {job}: {tmp_path}/thesis holds .hidden") and said.count("\n") == 1
    assert tree(tmp_path) == before


def test_work_in_a_part_of_a_world_is_refused_before_anything_is_trained(tmp_path, capsys):
    take_folder(tmp_path / "world", maker="world")
    for change in ("notes.txt", "corpus.txt"):
        with atomic_folder(tmp_path / "world/corpus", maker=PART) as aside:
            (aside / "corpus.txt").write_text("ours")
        (tmp_path / "world/corpus" / change).write_text("mine")
        before = tree(tmp_path)
        assert main(["pretrain", "--output", str(tmp_path / "world")]) == 2
        assert f"corpus/{change}, which " in capsys.readouterr().err
        assert tree(tmp_path) == before
        (tmp_path / "world/corpus" / change).unlink()


def test_a_folder_of_another_command_is_no_folder_of_ours(tmp_path, capsys):
    take_folder(tmp_path / "jobs", maker="frontier")
    (tmp_path / "jobs/base.json").write_text("{}")
    assert main(["train", "--output", str(tmp_path / "jobs")]) == 2
    assert "holds 'a frontier'; expected" in capsys.readouterr().err


# The committed folders, and the copies for a class.


def test_the_committed_folders_are_ours_and_as_we_left_them():
    """So that `pretrain` and `frontier`, which made them, may make them anew."""
    assert read_marker(data_folder()) == Marker("world")
    assert read_marker(data_folder() / "recorded/frontier") == Marker("frontier")
    for part in PARTS:
        assert read_marker(data_folder() / part).maker == PART
        assert not_as_we_left_it(data_folder() / part) == []
        assert set(read_marker(data_folder() / part).files) == set(os.listdir(data_folder() / part)) - {MARKER}


@pytest.fixture
def small_copy(tmp_path, monkeypatch) -> Path:
    """A student copy with few files in it."""
    monkeypatch.setattr(student, "COPIED", ("run.py", "LICENSE"))
    monkeypatch.setattr(student, "notebooks", lambda: [ROOT / "notebooks/00_start_here.ipynb"])
    assert student.main([str(tmp_path / "copy")]) == 0
    return tmp_path / "copy"


def test_a_fresh_student_copy_is_made_anew_and_a_used_one_is_refused_by_what_would_be_lost(small_copy, capsys):
    assert student.main([str(small_copy)]) == 0
    uses = {
        ".venv": lambda path: stranger(path),
        "notebooks/.ipynb_checkpoints": lambda path: path.mkdir(),
        "notebooks/00_start_here.ipynb": lambda path: path.write_text("an answer"),
        "my_dpo.py": lambda path: path.write_text("mine"),
    }
    for name, use in uses.items():
        use(small_copy / name)
        before = tree(small_copy)
        capsys.readouterr()
        assert student.main([str(small_copy)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("run.py student: ") and said.count("\n") == 1 and "would be lost" in said
        assert tree(small_copy) == before
    assert f"{small_copy}/notebooks/00_start_here.ipynb, which was changed since (and 3 more)" in said


def test_a_student_copy_into_what_is_copied_is_refused(capsys):
    assert student.main([str(ROOT / "data/copy")]) == 2
    assert "which is copied; expected a folder elsewhere" in capsys.readouterr().err
    assert not (ROOT / "data/copy").exists()


def test_decks_stand_beside_earlier_ones_and_are_made_anew_but_not_where_somebody_worked(tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "SLIDES", tmp_path / "slides")
    monkeypatch.setattr(slides, "copy_files", lambda folder: folder.mkdir())
    monkeypatch.setattr(slides, "deck", lambda path: path.stem)
    first, second = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))[:2]
    for path in (first, second, second):
        assert slides.main([str(path)]) == 0
    names = {f"{first.stem}.html", f"{second.stem}.html", "index.html", MARKER}
    assert set(os.listdir(tmp_path / "slides")) == names
    assert f"{first.stem}.html" in (tmp_path / "slides/index.html").read_text(encoding="utf-8")
    (tmp_path / "slides" / f"{first.stem}.html").write_text("with my remarks")
    before = tree(tmp_path)
    assert slides.main([str(second)]) == 2
    assert tree(tmp_path) == before


def test_a_website_is_made_anew_over_itself_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(build_site, "write_site", lambda notebooks, to: (to / "index.html").touch() or 0)
    for _ in range(2):
        assert build_site.build([], tmp_path / "site") == 0
    (tmp_path / "site/CNAME").write_text("my.domain")
    assert "CNAME, which dpo-notes did not write" in refusal(lambda: build_site.build([], tmp_path / "site"))
    assert (tmp_path / "site/index.html").exists()
