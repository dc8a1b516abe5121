"""What is installed: a wheel carries data and notebooks, an editable install none, and neither a stray file."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from dpo_notes.places import ROOT

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="asks git which files are tracked")


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """The repository as it is committed, with an author's scratch files in it."""
    folder = tmp_path_factory.mktemp("clone") / "dpo-notes"
    subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(folder)], check=True)
    for name in ("hatch_build.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("notebooks/scratch.ipynb", "data/notes.txt"):
        (folder / name).write_text("mine")
    return folder


def names_in(clone: Path, version: str, folder: Path) -> set[str]:
    """The files of a wheel; of an editable one, what would be put into site-packages."""
    (wheel,) = WheelBuilder(str(clone)).build(directory=str(folder), versions=[version])
    return set(zipfile.ZipFile(wheel).namelist())


def test_a_wheel_carries_what_git_tracks_and_no_more(clone, tmp_path):
    names = names_in(clone, "standard", tmp_path)
    listed = subprocess.run(
        ["git", "ls-files", "dpo_notes", "data", "notebooks"], cwd=clone, capture_output=True, text=True
    )
    tracked = {name if name.startswith("dpo_notes/") else f"dpo_notes/{name}" for name in listed.stdout.splitlines()}
    assert {name for name in names if ".dist-info/" not in name} == tracked
    assert {"dpo_notes/py.typed", "dpo_notes/data/gpt2-embedded/model.safetensors"} < names


def test_an_editable_install_puts_nothing_of_them_into_site_packages(clone, tmp_path):
    names = names_in(clone, "editable", tmp_path)
    assert [name for name in names if ".dist-info/" not in name] == ["_editable_impl_dpo_notes.pth"]


def test_a_source_distribution_makes_the_same_wheel(clone, tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path / "sdist")]
    subprocess.run(command, cwd=clone, check=True, capture_output=True)
    (archive,) = (tmp_path / "sdist").iterdir()
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    from_clone, from_source = (names_in(place, "standard", tmp_path / place.name) for place in (clone, unpacked))
    assert from_source == from_clone


def test_a_package_that_carries_its_data_finds_it_there(clone, tmp_path):
    """From a wheel, unpacked somewhere; runs are written where the user stands."""
    (wheel,) = WheelBuilder(str(clone)).build(directory=str(tmp_path / "wheel"), versions=["standard"])
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    program = "from dpo_notes import places; from dpo_notes.pairs.embedded import data_folder"
    program += "; print(data_folder(), places.NOTEBOOKS, places.WORK, sep='\\n')"
    where = {"cwd": tmp_path, "env": {"PYTHONPATH": str(tmp_path / "site")}}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, **where).stdout
    carried = tmp_path / "site" / "dpo_notes"
    assert said.splitlines() == [str(carried / "data"), str(carried / "notebooks"), str(tmp_path)]
