"""The repository's address is in one place; badges and the notebooks' first code cells are made from it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import addresses
import nbformat
import pytest

from dpo_notes.places import ROOT


def test_the_readmes_badges_are_made_from_the_one_address_of_the_repository():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert addresses.badges() in readme
    assert len(re.findall(r"colab-badge|mybinder.org/badge", readme)) == 2


@pytest.mark.parametrize("path", addresses.notebooks(), ids=lambda path: path.stem)
def test_every_notebook_fetches_the_package_from_it_where_it_has_to(path):
    [cell] = [cell for cell in nbformat.read(path, as_version=4).cells if cell.id == addresses.COLAB]
    assert cell.source == addresses.colab_cell(), "python authoring/addresses.py writes it"


def test_moving_the_repository_changes_one_line(tmp_path, monkeypatch):
    """In copies of the files, after another address in pyproject.toml, nothing of the old one is left."""
    (tmp_path / "notebooks").mkdir()
    for name in ("README.md", "pyproject.toml", "notebooks/00_start_here.ipynb"):
        shutil.copy(ROOT / name, tmp_path / name)
    project = tmp_path / "pyproject.toml"
    project.write_text(project.read_text().replace(addresses.repository(), "https://github.com/a-class/its-copy"))
    before = addresses.repository()
    monkeypatch.setattr(addresses, "ROOT", tmp_path)
    addresses.main()
    written = [(tmp_path / name).read_text(encoding="utf-8") for name in ("README.md", "notebooks/00_start_here.ipynb")]
    assert all("a-class/its-copy" in text and before not in text for text in written)
    assert addresses.badges() in written[0]


def python(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run this code in a process of its own."""
    command, settings = [sys.executable, "-c", code], os.environ | environment
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=True)


def test_on_colab_a_notebook_opened_alone_gets_the_repository_and_its_package(tmp_path):
    """With Colab's module, Git redirected to this repository, and a fake pip. The second run fetches nothing."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs Git and a clone")
    content, asked = tmp_path / "content", tmp_path / "asked"
    content.mkdir()
    pip = tmp_path / "modules" / "pip" / "__main__.py"
    pip.parent.mkdir(parents=True)
    (pip.parent / "__init__.py").touch()
    pip.write_text(f"import sys; open({str(asked)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10))")
    lines = [
        "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')",
        addresses.colab_cell().replace("/content/", f"{content.as_posix()}/"),
        "import dpo_notes; from dpo_notes.pairs.embedded import data_folder",
        "print(os.getcwd(), dpo_notes.__file__, data_folder(), sep=chr(10))",
    ]
    fakes = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf"}
    fakes |= {"GIT_CONFIG_VALUE_0": addresses.repository(), "PYTHONPATH": str(tmp_path / "modules")}
    used = python("import pip; print(pip.__file__)", tmp_path, **fakes).stdout
    assert str(pip.parent) in used, "the real pip would change this environment"
    clone = content / addresses.repository().split("/")[-1]
    for _ in range(2):
        here, package, data = python("\n".join(lines), tmp_path, **fakes).stdout.splitlines()
        assert (Path(here), Path(package)) == (clone / "notebooks", clone / "dpo_notes" / "__init__.py")
        assert Path(data) == clone / "data" and (clone / "data" / "gpt2-embedded" / "model.safetensors").exists()
    assert asked.read_text() == f"install -q -e {clone.as_posix()}\n"


def test_elsewhere_the_cell_does_nothing(tmp_path):
    done = python(addresses.colab_cell() + "\nprint(os.getcwd())", tmp_path)
    assert (Path(done.stdout.strip()), done.stderr) == (tmp_path, "")
