"""python authoring/addresses.py    write the repository's address into the README and the notebooks

Every address of the repository is made from `Repository` under `project.urls` in pyproject.toml. To move the
repository, change it there and run this; a test compares.
"""

import re
import tomllib
from pathlib import Path

import nbformat

from dpo_notes.places import ROOT

BRANCH = "main"
FIRST = "notebooks/00_start_here.ipynb"
COLAB = "colab"  # the id of the cell that fetches the package on Colab, where a notebook is opened alone
BADGES = re.compile(r"(?:\[!\[Open .*\n)+")


def repository() -> str:
    """The repository's address, without a slash at the end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def source(path: str) -> str:
    """The web address of the file at this path of the repository."""
    return f"{repository()}/blob/{BRANCH}/{path}"


def colab(path: str) -> str:
    """The address that opens this notebook in Colab."""
    return f"https://colab.research.google.com/github/{_name()}/blob/{BRANCH}/{path}"


def binder(path: str) -> str:
    """The address that opens this notebook in JupyterLab on Binder."""
    return f"https://mybinder.org/v2/gh/{_name()}/{BRANCH}?urlpath=lab/tree/{path}"


def badges() -> str:
    """The README's badges."""
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab(FIRST)})\n"
        f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder(FIRST)})"
    )


def colab_cell() -> str:
    """The code that fetches the package on Colab and does nothing elsewhere."""
    return f"""\
import os
import subprocess
import sys

if "google.colab" in sys.modules:  # Colab opens this file alone; anywhere else there is nothing to do
    folder = "/content/{_name().split("/")[1]}"
    if not os.path.isdir(folder):
        subprocess.run(["git", "clone", "-q", "--depth", "1", "{repository()}", folder], check=True)
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-e", folder], check=True)
    sys.path.insert(0, folder)
    os.chdir(f"{{folder}}/notebooks")"""


def notebooks() -> list[Path]:
    """The series, in order."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def _name() -> str:
    """owner/name"""
    return "/".join(repository().split("/")[-2:])


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(BADGES.sub(lambda _: badges() + "\n", text, count=1), encoding="utf-8", newline="\n")
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        [cell] = [cell for cell in notebook.cells if cell.id == COLAB]
        cell.source = colab_cell()
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
