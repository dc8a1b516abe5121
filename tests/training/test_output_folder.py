"""The door to every folder that we write: a stranger's folder stays as it is, and nothing is written through a link."""

import os
from pathlib import Path

import pytest
from folders import refusal, stranger, tree, unix

from dpo_notes.training.checkpoint import check_run_folder
from dpo_notes.training.folder_marker import MARKER, Marker, write_marker
from dpo_notes.training.output_folder import MAKERS, check_folder, replaced_file, take_folder

# Whose a folder is.

DAMAGED = {
    "no marker": lambda marker: None,
    "no JSON": lambda marker: marker.write_text("made by dpo-notes"),
    "half of it": lambda marker: marker.write_text('{"made_by": "run"'),
    "another maker": lambda marker: marker.write_text('{"made_by": "world"}'),
    "the maker in a list": lambda marker: marker.write_text('[{"made_by": "run"}]'),
    "a list of files that is none": lambda marker: marker.write_text('{"made_by": "run", "files": 3}'),
    "bytes that are no text": lambda marker: marker.write_bytes(b'\xff{"made_by": "run"}'),
    "nested without end": lambda marker: marker.write_text("[" * 100_000),
    "empty": lambda marker: marker.touch(),
    "a folder": lambda marker: marker.mkdir(),
    "a link to a good one": lambda marker: marker.symlink_to(_good_one(marker)),
    "a part of ours": lambda marker: marker.write_text(Marker("a run's model", {"a": "b"}).text),
}


def _good_one(marker: Path) -> Path:
    good = marker.parent.parent / "good"
    good.mkdir()
    write_marker(good, Marker("run"))
    return good / MARKER


@unix
@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("held", [None, "THESIS.txt"])
def test_a_folder_without_a_sound_marker_of_ours_is_refused_unchanged(tmp_path, name, held):
    folder = tmp_path / "folder"
    folder.mkdir()
    if held or name == "no marker":
        stranger(folder)
    DAMAGED[name](folder / MARKER)
    before = tree(tmp_path)
    assert "expected a new folder, an empty one, or one that holds a training run" in refusal(
        lambda: take_folder(folder, maker="run")
    )
    assert tree(tmp_path) == before


def test_a_new_folder_an_empty_one_and_one_of_ours_are_taken_again_and_again(tmp_path):
    (tmp_path / "empty").mkdir()
    for maker in MAKERS:
        for name in ("a/new one", "empty"):
            folder = tmp_path / name / maker if name == "a/new one" else tmp_path / name
            assert take_folder(folder, maker=maker) == folder
            (folder / "ours").touch()
            before = tree(folder)
            assert take_folder(folder, maker=maker) == folder
            assert tree(folder) == before
            (folder / "ours").unlink()
            (folder / MARKER).unlink()


@pytest.mark.parametrize("written", [0, 1, 9])
def test_a_marker_whose_writing_was_cut_short_does_not_lock_us_out(tmp_path, written):
    (tmp_path / (MARKER + ".writing")).write_text(Marker("run").text[:written])
    take_folder(tmp_path, maker="run")
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


def test_what_only_looks_like_the_beginning_of_a_marker_is_somebody_elses(tmp_path):
    (tmp_path / (MARKER + ".writing")).write_text("my thesis")
    before = tree(tmp_path)
    refusal(lambda: take_folder(tmp_path, maker="run"))
    assert tree(tmp_path) == before


# Paths that are no folder.

PATHS = {
    "a file": (lambda place: (place / "a").touch(), "a"),
    "below a file": (lambda place: (place / "a").touch(), "a/b/c"),
    "a dangling link": (lambda place: (place / "a").symlink_to(place / "nowhere"), "a"),
    "below a dangling link": (lambda place: (place / "a").symlink_to("nowhere"), "a/b"),
    "a link to itself": (lambda place: (place / "a").symlink_to("a"), "a"),
    "two links in a circle": (lambda place: ((place / "a").symlink_to("b"), (place / "b").symlink_to("a")), "b/run"),
    "a link to a file": (lambda place: ((place / "f").touch(), (place / "a").symlink_to("f")), "a"),
    "a device": (lambda place: None, "/dev/null"),
    "below a device": (lambda place: None, "/dev/zero/run"),
    "a pipe": (lambda place: os.mkfifo(place / "a"), "a"),
    "a name too long": (lambda place: None, "a" * 300),
    "a name with a zero byte": (lambda place: None, "a\0b"),
}


@unix
@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_leads_to_no_folder_is_one_line(tmp_path, name):
    make, path = PATHS[name]
    make(tmp_path)
    before = tree(tmp_path)
    assert "expected a folder" in refusal(lambda: take_folder(tmp_path / path, maker="run"))
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    assert "Permission denied" in refusal(lambda: take_folder(tmp_path / "closed", maker="run"))


@unix
def test_where_a_path_leads_elsewhere_than_it_says_both_are_named(tmp_path, monkeypatch):
    thesis = stranger(tmp_path / "thesis")
    (tmp_path / "link").symlink_to(thesis)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    for typed in (tmp_path / "link", Path("link"), Path("deep/../thesis"), tmp_path / "link" / ".." / "thesis"):
        said = refusal(lambda typed=typed: check_folder(typed, maker="run"))
        assert said.startswith(f"{typed} (which is {thesis}) holds .hidden")
    assert refusal(lambda: check_folder("thesis", maker="run")).startswith("thesis holds .hidden")


@unix
def test_a_link_to_an_empty_folder_leads_there(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to("disk")
    assert take_folder(tmp_path / "link/run", maker="run") == tmp_path / "disk/run"
    assert (tmp_path / "disk/run" / MARKER).is_file()


# Links, and work of others, in a folder of ours.

WRITTEN = ["metrics.jsonl", "config.json", "curves.png", "samples.md", "model", "checkpoint", ".model.writing",
           ".model.old", ".curves.writing.png", ".metrics.writing.jsonl", MARKER + ".writing", "frontier.json",
           "checkpoint/step-00000003", "checkpoint/.step-00000003.writing", "checkpoint/step-00000004/state.json",
           "base.json"]  # fmt: skip


@unix
@pytest.mark.parametrize("target", ["a file", "a folder", "nothing"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_link_where_a_run_would_write_is_refused_and_its_target_stays(tmp_path, name, target):
    run_folder, other = take_folder(tmp_path / "run", maker="run"), tmp_path / "theirs"
    if target == "a file":
        other.write_text("my thesis")
    elif target == "a folder":
        stranger(other)
    (run_folder / name).parent.mkdir(parents=True, exist_ok=True)
    (run_folder / name).symlink_to(other)
    before = tree(tmp_path)
    said = refusal(lambda: check_run_folder(run_folder))
    assert str(run_folder / name) in said
    if "/" not in name:
        assert f"is a link to {other}" in said
    assert tree(tmp_path) == before


@unix
def test_what_is_neither_file_nor_folder_is_refused(tmp_path):
    take_folder(tmp_path, maker="run")
    os.mkfifo(tmp_path / "metrics.jsonl")  # opened, it would wait for ever
    assert "metrics.jsonl is neither a file nor a folder" in refusal(lambda: check_run_folder(tmp_path))


@unix
def test_a_file_is_replaced_and_never_written_through(tmp_path):
    (tmp_path / "thesis").write_text("mine")
    (tmp_path / "samples.md").symlink_to("thesis")
    os.link(tmp_path / "thesis", tmp_path / "config.json")
    for name in ("samples.md", "config.json"):
        with replaced_file(tmp_path / name) as aside:
            aside.write_text("ours")
        assert (tmp_path / name).read_text() == "ours"
    with pytest.raises(RuntimeError), replaced_file(tmp_path / "samples.md") as aside:
        aside.write_text("half")
        raise RuntimeError
    assert (tmp_path / "thesis").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["config.json", "samples.md", "thesis"]
