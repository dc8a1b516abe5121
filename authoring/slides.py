"""python run.py slides [NOTEBOOK ...]    a reveal.js deck from each notebook, for the front of a class

Without names: every notebook, to build/slides, with an index.html. The decks are made from the saved notebooks and
outputs, so nothing is executed. They open from a plain folder and load nothing from the network: reveal.js and MathJax
are beside them. The cells' slide types leave out exercises, imports and references. Code that only draws is left out
too, and its picture stays.
"""

import re
import shutil
import sys
from html import escape
from pathlib import Path

import nbformat
from deck_files import copy_files
from nbconvert import SlidesExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat import NotebookNode

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_terminal
from dpo_notes.places import NOTEBOOKS, ROOT
from dpo_notes.training.output_folder import atomic_folder

SLIDES = ROOT / "build" / "slides"
TEMPLATES = Path(__file__).resolve().parent
UNSEEN = "deck-without-source"  # the tag of cells whose code is left out
LINK = re.compile(r"\[([^\]\[]+)\]\((?!https?://)([^)\s]+)\)")
INDEX = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>dpo-notes: decks</title>
<style>body {{ font: 1.2rem/1.6 sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}</style></head>
<body><main><h1>Decks</h1>
<p>Arrow keys or space lead on, step by step; Esc shows all slides; F fills the screen; ?print-pdf prints.</p>
<ol start="0">
{items}
</ol></main></body></html>
"""


def for_deck(notebook: NotebookNode) -> NotebookNode:
    """The notebook for its deck: links between notebooks become links between decks, drawing code is tagged UNSEEN."""
    cells = []
    for cell in notebook.cells:
        cell = NotebookNode({**cell, "metadata": NotebookNode(cell.metadata)})
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(_link, cell.source)
        elif any({"image/png", "text/html"} & set(output.get("data", {})) or _asks(output) for output in cell.outputs):
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), UNSEEN]
        cells.append(cell)
    return NotebookNode({**notebook, "cells": cells})


def _link(found: re.Match) -> str:
    """A link to a notebook becomes a link to its deck; any other link within the repository becomes plain words."""
    words, target = found.groups()
    return f"[{words}]({Path(target).stem}.html)" if re.fullmatch(r"\d\d_\w+\.ipynb", target) else words


def _asks(output: NotebookNode) -> bool:
    """Whether an output is that of predict(…), of which a slide needs only the question."""
    return output.get("data", {}).get("text/plain", "").startswith("Make a guess")


def deck(path: Path) -> str:
    """The HTML of one deck, with its pictures; reveal.js and MathJax are beside it, in assets/."""
    exporter = SlidesExporter(
        template_name="deck",
        extra_template_basedirs=[str(TEMPLATES)],
        reveal_url_prefix="assets/reveal",
        mathjax_url="assets/mathjax/tex-svg.js",
        reveal_theme="white",
        reveal_number="c/t",
    )
    exporter.register_preprocessor(TagRemovePreprocessor(remove_input_tags={UNSEEN}), enabled=True)
    notebook = for_deck(nbformat.read(path, as_version=4))
    return exporter.from_notebook_node(notebook, resources={"metadata": {"name": title_of(notebook)}})[0]


def title_of(notebook: NotebookNode) -> str:
    """The notebook's first heading."""
    return notebook.cells[0].source.partition("\n")[0].removeprefix("# ").strip()


def main(names: list[str]) -> int:
    paths = [Path(name) for name in names] or sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    try:
        with atomic_folder(SLIDES, maker="slides") as folder:
            for made in decks_in(SLIDES):  # earlier, from other notebooks
                shutil.copy2(made, folder)
            write_decks(paths, folder)
    except (OSError, ValueError) as error:
        print(f"run.py slides: {for_terminal(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    print(f"open {SLIDES / 'index.html'} in a browser")
    return 0


def write_decks(paths: list[Path], folder: Path) -> None:
    """Write the decks of these notebooks, the files they load, and an index of all decks in the folder."""
    copy_files(folder / "assets")
    for path in paths:
        (folder / f"{path.stem}.html").write_text(deck(path), encoding="utf-8", newline="\n")
        print(f"{path.name}: {SLIDES / path.stem}.html", flush=True)
    titles = {path.name: title_of(nbformat.read(NOTEBOOKS / f"{path.stem}.ipynb", 4)) for path in decks_in(folder)}
    items = "\n".join(f'<li><a href="{escape(name)}">{escape(title)}</a></li>' for name, title in titles.items())
    (folder / "index.html").write_text(INDEX.format(items=items), encoding="utf-8", newline="\n")


def decks_in(folder: Path) -> list[Path]:
    """The decks of this series in the folder."""
    return [path for path in sorted(folder.glob("[0-9]*.html")) if (NOTEBOOKS / f"{path.stem}.ipynb").exists()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
