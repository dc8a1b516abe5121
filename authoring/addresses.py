"""python authoring/addresses.py    print the README's badges

Every address of the repository is made here from `Repository` under `project.urls` in pyproject.toml, the one place
where it stands: who moves the repository changes it there, and the README's badges to what this prints (a test compares
them).
"""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BRANCH = "main"
FIRST = "notebooks/00_start_here.ipynb"


def repository() -> str:
    """The repository's address, without a stroke at the end."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def source(path: str) -> str:
    """Where the file at this path of the repository can be read."""
    return f"{repository()}/blob/{BRANCH}/{path}"


def colab(path: str) -> str:
    """Where this notebook opens in Colab."""
    return f"https://colab.research.google.com/github/{_name()}/blob/{BRANCH}/{path}"


def binder(path: str) -> str:
    """Where this notebook opens in JupyterLab on Binder."""
    return f"https://mybinder.org/v2/gh/{_name()}/{BRANCH}?urlpath=lab/tree/{path}"


def badges() -> str:
    """The README's badges."""
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab(FIRST)})\n"
        f"[![Open on Binder](https://mybinder.org/badge_logo.svg)]({binder(FIRST)})"
    )


def _name() -> str:
    """owner/name"""
    return "/".join(repository().split("/")[-2:])


if __name__ == "__main__":
    print(badges())
