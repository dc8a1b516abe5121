"""reveal.js and MathJax for the decks, from Python packages in authoring/site-requirements.txt."""

import importlib.metadata
import shutil
from pathlib import Path

REVEAL = "sphinx_revealjs/_static/revealjs"
# By package: its file and our name for it; a name that ends in / is a whole folder.
FILES = {
    "sphinx-revealjs": {  # reveal.js, MIT; the font of its theme, SIL Open Font Licence
        f"{REVEAL}/LICENSE": "reveal/LICENSE",
        f"{REVEAL}/dist/reveal.js": "reveal/dist/reveal.js",
        f"{REVEAL}/dist/reveal.css": "reveal/dist/reveal.css",
        f"{REVEAL}/dist/theme/white.css": "reveal/dist/theme/white.css",
        f"{REVEAL}/dist/theme/fonts/source-sans-pro/": "reveal/dist/theme/fonts/source-sans-pro/",
        "licenses/LICENSE": "mathjax/LICENSE",  # Apache 2.0, also MathJax's
    },
    "sphinx-mathjax-offline": {"sphinx-mathjax-offline/static/mathjax/tex-svg.js": "mathjax/tex-svg.js"},  # Apache 2.0
}


def copy_files(folder: Path) -> None:
    """Copy the files into `folder`. Raises FileNotFoundError if a package, or a file of it, is missing."""
    for name, wanted in FILES.items():
        try:
            members = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            raise FileNotFoundError(
                f"{name} is not installed: pip install -r authoring/site-requirements.txt"
            ) from None
        for theirs, ours in wanted.items():
            found = [path for path in members if _is_in(path.as_posix(), theirs)]
            if not found:
                raise FileNotFoundError(
                    f"{name} has no {theirs}; expected the release in authoring/site-requirements.txt"
                )
            for path in found:
                target = folder / (ours + path.name if ours.endswith("/") else ours)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path.locate(), target)


def _is_in(path: str, name: str) -> bool:
    return path.startswith(name) if name.endswith("/") else path == name or path.endswith(f".dist-info/{name}")
