"""dpo-notes lab lays a copy of the notebooks, never writes over one, and hands its other words to JupyterLab."""

import argparse

import pytest
from folders import refusal, stranger, tree

from dpo_notes.cli import main
from dpo_notes.commands import lab
from dpo_notes.maths.errors import InputError
from dpo_notes.training.folder_marker import MARKER

ORIGINALS = {"00_start_here.ipynb": "first", "solutions/00_start_here.ipynb": "solved", "README.md": "read"}


@pytest.fixture
def originals(monkeypatch, tmp_path):
    folder = tmp_path / "originals"
    for name, text in {**ORIGINALS, "notes.txt": "not for readers", "scratch.ipynb": "an author's"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.setattr(lab, "NOTEBOOKS", folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "WORK", tmp_path)
    return folder


@pytest.fixture
def started(monkeypatch):
    """What JupyterLab was started with."""
    heard = []
    monkeypatch.setattr("jupyterlab.labapp.main", heard.append)
    return heard


def texts(folder) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("words", [[], ["--no-browser", "--port", "9000"], ["--ip=0.0.0.0"], ["--help"], ["-y"]])
@pytest.mark.parametrize("folder", [[], ["elsewhere"], ["--here"]])
def test_every_word_but_a_folder_at_the_beginning_reaches_jupyterlab(originals, started, tmp_path, folder, words):
    assert main(["lab", *folder, *words]) == 0
    place = {"": "my_notebooks", "elsewhere": "elsewhere", "--here": "originals"}["".join(folder)]
    assert started == [[str(tmp_path / place), *words]]


def test_the_copy_holds_notebooks_solutions_and_words_and_the_originals_stay(originals, tmp_path, capsys):
    before = tree(originals)
    lab.lay_out(tmp_path / "mine")
    assert texts(tmp_path / "mine") == ORIGINALS and tree(originals) == before
    assert f"{tmp_path / 'mine'}: 3 files copied from {originals}" in capsys.readouterr().out


def test_what_a_reader_changed_stays_and_what_they_removed_comes_again(originals, tmp_path):
    mine = lab.lay_out(tmp_path / "mine")
    (mine / "00_start_here.ipynb").write_text("my answers")
    (mine / "README.md").unlink()
    (mine / "own.ipynb").write_text("my own")
    for _ in range(2):
        lab.lay_out(mine)
        assert texts(mine) == ORIGINALS | {"00_start_here.ipynb": "my answers", "own.ipynb": "my own"}


@pytest.mark.parametrize("answers", ["my answers", "first"])
def test_a_newer_edition_is_laid_beside_and_named_once(originals, tmp_path, capsys, answers):
    mine = lab.lay_out(tmp_path / "mine")
    (mine / "00_start_here.ipynb").write_text(answers)
    for edition, name in (("second", "00_start_here.newer.ipynb"), ("third", "00_start_here.newer-2.ipynb")):
        (originals / "00_start_here.ipynb").write_text(edition)
        capsys.readouterr()
        lab.lay_out(mine)
        assert name in capsys.readouterr().out
        lab.lay_out(mine)
        assert "saved beside" not in capsys.readouterr().out
        assert (mine / name).read_text() == edition and (mine / "00_start_here.ipynb").read_text() == answers
    assert len(list(mine.glob("*.ipynb"))) == 3


def test_somebody_elses_folder_is_refused_and_left_alone(originals, tmp_path):
    place = stranger(tmp_path / "thesis")
    before = tree(place)
    assert "nothing says that dpo-notes made it" in refusal(lambda: lab.lay_out(place))
    assert tree(place) == before


def test_without_jupyterlab_it_says_what_to_install(originals, monkeypatch):
    monkeypatch.setattr(lab, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'dpo-notes\[notebooks\]'"):
        lab.run(argparse.Namespace(arguments=[]))


def test_a_package_without_notebooks_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(lab, "NOTEBOOKS", tmp_path / "notebooks")
    with pytest.raises(InputError, match="expected a whole clone"):
        lab.run(argparse.Namespace(arguments=[]))
