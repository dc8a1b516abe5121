"""python run.py site [NOTEBOOK ...]    the notebooks as a website in build/site, for readers without Python

Without names: every notebook, with its solutions. The pages show the notebooks as executed and need neither a server
nor a network: open build/site/index.html, or put the folder on any server of static files. Sliders move between
pictures, one for each combination of values in the explorer's `page_grid`, which are drawn now.
"""

import importlib.metadata
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import nbformat
from addresses import repository
from site_api import api_page
from site_explorers import draw_explorers
from site_pages import page_of
from sphinx.cmd.build import build_main

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_terminal
from dpo_notes.places import NOTEBOOKS, ROOT
from dpo_notes.training.output_folder import atomic_folder

SITE = ROOT / "build" / "site"
ASSETS = ROOT / "authoring" / "site"
MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"  # MathJax 3 as one file, in the package of that name


def build(notebooks: list[Path], to: Path) -> int:
    """Write the website of these notebooks and their solutions to the folder `to`; returns Sphinx's exit code.

    Raises InputError if the folder holds anything but a website made by this function.
    """
    with atomic_folder(to, maker="site") as aside:
        return write_site(notebooks, aside)


def write_site(notebooks: list[Path], to: Path) -> int:
    """Fill an empty folder with the website; returns Sphinx's exit code."""
    notebooks = [path.resolve() for path in notebooks]
    solutions = [NOTEBOOKS / "solutions" / path.name for path in notebooks]
    explorers = dict(zip(notebooks, drawn(notebooks, to / "pictures"), strict=True))
    pages = [path.relative_to(NOTEBOOKS).as_posix() for path in [*notebooks, *solutions]]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder).resolve()
        (source / "solutions").mkdir()
        for path, name in zip([*notebooks, *solutions], pages, strict=True):
            place = f"pictures/{name.removesuffix('.ipynb')}"
            page = page_of(path, pages, explorers.get(path, {}), to / place, "../" * name.count("/") + place)
            nbformat.write(page, source / name)
        (source / "index.md").write_text(index(pages), encoding="utf-8")
        (source / "api.md").write_text(api_page(), encoding="utf-8")
        options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(ASSETS), "-d", str(source / "doctrees")]
        code = build_main([*options, str(source), str(to)])
    mathjax = importlib.metadata.distribution("sphinx-mathjax-offline").locate_file(MATHJAX)
    shutil.copy(mathjax, to / "_static" / "tex-svg.js")
    return code


def drawn(notebooks: list[Path], pictures: Path) -> list[dict[str, str]]:
    """The explorers' HTML by cell id for each notebook; each is drawn in its own process, one per core at a time."""
    folders = [pictures / path.stem for path in notebooks]
    addresses = [f"pictures/{path.stem}" for path in notebooks]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn, max_tasks_per_child=1) as pool:
        return list(pool.map(draw_explorers, notebooks, folders, addresses))


def index(pages: list[str]) -> str:
    """The first page, with the list of the others."""
    names = [name.removesuffix(".ipynb") for name in pages]
    text = (ASSETS / "index.md").read_text(encoding="utf-8").replace("REPOSITORY", repository())
    text = text.replace("NOTEBOOKS", "\n".join(name for name in names if "/" not in name))
    return text.replace("SOLUTIONS", "\n".join(name for name in names if "/" in name))


def main(names: list[str]) -> int:
    start = time.monotonic()
    os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1")
    try:
        code = build([Path(name) for name in names] or sorted(NOTEBOOKS.glob("[0-9]*.ipynb")), SITE)
    except (InputError, OSError) as error:
        print(f"run.py site: {for_terminal(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    size = sum(file.stat().st_size for file in SITE.rglob("*") if file.is_file())
    print(f"{SITE / 'index.html'}: {size / 1e6:.0f} MB in {time.monotonic() - start:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
