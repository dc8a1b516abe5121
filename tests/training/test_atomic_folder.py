"""A folder that is replaced as a whole: it is there whole or not at all, and work in it is never lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from folders import refusal, stranger, tree, unix

from dpo_notes.places import ROOT
from dpo_notes.training import saved_state
from dpo_notes.training.folder_marker import MARKER, Marker, not_as_we_left_it, read_marker, write_marker
from dpo_notes.training.output_folder import atomic_folder, take_folder


def write(place: Path, text: str) -> None:
    with atomic_folder(place, maker="site") as aside:
        (aside / "within/deep").mkdir(parents=True)
        (aside / "empty").mkdir()
        (aside / "index.html").write_text(text)
        (aside / "within/deep/page.html").write_text(text)


def texts(place: Path) -> set[str]:
    return {path.read_text() for path in place.rglob("*.html")}


def test_an_atomic_folder_appears_whole_or_not_at_all(tmp_path):
    """Over an older one, and after an earlier attempt that was killed."""
    place = tmp_path / "place"
    take_folder(tmp_path / ".place.writing", maker="an unfinished folder")
    (tmp_path / ".place.writing/left over").touch()
    with atomic_folder(place, maker="site") as aside:
        (aside / "old.html").write_text("first")
        assert not place.exists()
    assert {path.name for path in tmp_path.rglob("*")} == {"place", MARKER, "old.html"}
    before = tree(tmp_path)
    with pytest.raises(RuntimeError, match="halfway"), atomic_folder(place, maker="site") as aside:
        (aside / "file").write_text("second")
        raise RuntimeError("halfway")
    assert tree(place) == {path: state for path, state in before.items() if path != str(tmp_path)}
    write(place, "third")
    assert sorted(path.relative_to(place).as_posix() for path in place.rglob("*")) == [
        MARKER, "index.html", "within", "within/deep", "within/deep/page.html",
    ]  # fmt: skip
    assert os.listdir(tmp_path) == ["place"]
    assert list(read_marker(place).files) == ["index.html", "within/deep/page.html"]


def write_checkpoint(place: Path) -> None:
    saved_state.write_checkpoint(place, {"a/weight": torch.ones(3)}, step=1, identity={})


@pytest.mark.parametrize("make", [lambda place: write(place, "first"), write_checkpoint], ids=["folder", "checkpoint"])
def test_every_file_is_on_disk_as_it_is_before_the_folder_is_moved_into_place(tmp_path, monkeypatch, make):
    """Otherwise a power failure could leave the new name with old or no contents."""
    flushed, moved = set(), {}

    def state(found: os.stat_result) -> tuple[int, ...]:
        return found.st_ino, found.st_size, found.st_mtime_ns

    def flush(number: int, original=os.fsync) -> None:
        original(number)
        flushed.add(state(os.fstat(number)))

    def move(source: Path, target: Path, original=os.rename) -> None:
        files = [path for path in Path(source).rglob("*") if path.is_file()]
        moved[Path(target).name] = {path.name: state(path.stat()) in flushed for path in files}
        original(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    for name in ("rename", "replace"):
        monkeypatch.setattr(os, name, move)
    make(tmp_path / "place")
    names = {path.name for path in (tmp_path / "place").rglob("*") if path.is_file()}
    assert moved["place"] == dict.fromkeys(names, True) and len(names) > 1


WORK = {
    "a new file": (lambda place: (place / "notes.txt").touch(), "notes.txt, which dpo-notes did not write"),
    "a new file within": (lambda place: (place / "within/deep/x").touch(), "within/deep/x, which dpo-notes did"),
    "a new folder": (lambda place: stranger(place / ".venv"), ".venv, which dpo-notes did not write"),
    "an empty folder": (lambda place: (place / "within/mine").mkdir(), "within/mine, which dpo-notes did not write"),
    "a changed file": (lambda place: (place / "index.html").write_text("worked on"), "index.html, which was changed"),
    "a file of the same length": (lambda place: (place / "index.html").write_text("xxxxx"), "index.html, which was"),
    "two things": (
        lambda place: ((place / "a").touch(), (place / "index.html").write_text("")),
        "index.html, which was changed since (and 1 more)",
    ),
    "a link for a file": (
        lambda place: (
            (place.parent / "twin").write_text("first"),
            (place / "index.html").unlink(),
            (place / "index.html").symlink_to("../twin"),
        ),
        "index.html",
    ),
    "a link for a folder": (
        lambda place: (
            (place / "within/deep").rename(place.parent / "moved"),
            (place / "within/deep").symlink_to(place.parent / "moved"),
        ),
        "within/deep, which dpo-notes did not write",
    ),
    "a folder for a file": (
        lambda place: ((place / "index.html").unlink(), stranger(place / "index.html")),
        "index.html, which was changed since",
    ),
    "a marker within": (lambda place: write_marker(place / "within", Marker("site")), f"within/{MARKER}, which"),
}


@unix
@pytest.mark.parametrize("name", WORK)
def test_work_in_an_atomic_folder_is_named_and_nothing_is_removed(tmp_path, name):
    change, problem = WORK[name]
    write(tmp_path / "place", "first")
    change(tmp_path / "place")
    before = tree(tmp_path)
    assert problem in refusal(lambda: write(tmp_path / "place", "second")).replace(f"{tmp_path}/place/", "")
    assert tree(tmp_path) == before


def test_work_that_appears_while_a_new_folder_is_filled_stays_too(tmp_path):
    write(tmp_path / "place", "first")

    def meanwhile():
        with atomic_folder(tmp_path / "place", maker="site"):
            (tmp_path / "place/notes.txt").write_text("mine")

    assert "notes.txt" in refusal(meanwhile)
    assert (tmp_path / "place/notes.txt").read_text() == "mine" and texts(tmp_path / "place") == {"first"}
    assert os.listdir(tmp_path) == ["place"]


def test_a_list_that_reaches_out_of_its_folder_reaches_nothing(tmp_path):
    write(tmp_path / "place", "first")
    (tmp_path / "thesis").write_text("first")
    marker = read_marker(tmp_path / "place")
    (checksum, *_) = marker.files.values()
    forged = dict.fromkeys(["../thesis", str(tmp_path / "thesis"), "within/../../thesis", ""], checksum)
    write_marker(tmp_path / "place", Marker("site", marker.files | forged))
    write(tmp_path / "place", "second")
    assert (tmp_path / "thesis").read_text() == "first" and texts(tmp_path / "place") == {"second"}


@pytest.mark.parametrize("beside", [".place.writing", ".place.old"])
def test_a_strangers_folder_under_the_name_that_we_use_aside_is_refused(tmp_path, beside):
    stranger(tmp_path / beside)
    before = tree(tmp_path)
    assert beside in refusal(lambda: write(tmp_path / "place", "first"))
    assert tree(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from dpo_notes.training.output_folder import atomic_folder
changes = []
def count(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"):
        changes.append(event)
        if len(changes) == {change}:
            os.kill(os.getpid(), signal.SIGKILL)
with atomic_folder(Path({place!r}), maker="site") as aside:
    sys.addaudithook(count)
    (aside / "index.html").write_text("second")
    (aside / "new.html").write_text("second")
"""


@unix
@pytest.mark.processes
def test_killed_at_each_change_to_a_file_a_folder_is_the_old_or_the_new_one_and_can_be_made_anew(tmp_path):
    """In the moment between two renames it is not there, and stands beside its place, whole."""
    change, ended = 0, -signal.SIGKILL
    while ended == -signal.SIGKILL:
        change += 1
        place = tmp_path / str(change) / "place"
        write(place, "first")
        program = KILLED.format(tests=str(ROOT), change=change, place=str(place))
        ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode
        whole = place if place.exists() else place.with_name(".place.old")
        assert not_as_we_left_it(whole) == [] and texts(whole) in ({"first"}, {"second"}), change
        write(place, "third")
        assert texts(place) == {"third"} and os.listdir(place.parent) == ["place"], change
    assert ended == 0 and change > 15


def test_a_folder_that_was_moved_aside_when_a_kill_came_is_put_back(tmp_path):
    write(tmp_path / "place", "first")
    (tmp_path / "place").rename(tmp_path / ".place.old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "place", maker="site"):
        raise RuntimeError
    assert texts(tmp_path / "place") == {"first"} and os.listdir(tmp_path) == ["place"]
