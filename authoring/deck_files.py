"""reveal.js and MathJax for the decks, out of Python packages that carry them; they come with the website's packages."""

import importlib.metadata
import shutil
from pathlib import Path

REVEAL = "sphinx_revealjs/_static/revealjs"
# Of a distribution, which of its files become which of ours; a name that ends in / is a whole folder.
FILES = {
    "sphinx-revealjs": {  # reveal.js, MIT; the font of its theme, SIL Open Font Licence
        f"{REVEAL}/LICENSE": "reveal/LICENSE",
        f"{REVEAL}/dist/reveal.js": "reveal/dist/reveal.js",
        f"{REVEAL}/dist/reveal.css": "reveal/dist/reveal.css",
        f"{REVEAL}/dist/theme/white.css": "reveal/dist/theme/white.css",
        f"{REVEAL}/dist/theme/fonts/source-sans-pro/": "reveal/dist/theme/fonts/source-sans-pro/",
        "licenses/LICENSE": "mathjax/LICENSE",  # the package's own is the text of Apache 2.0, which is MathJax's too
    },
    "sphinx-mathjax-offline": {"sphinx-mathjax-offline/static/mathjax/tex-svg.js": "mathjax/tex-svg.js"},  # Apache 2.0
}


def copy_files(folder: Path) -> None:
    """Put the files into `folder`. Raises FileNotFoundError where a package, or a file of it, is not there."""
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
