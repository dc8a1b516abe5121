"""A notebook as the website shows it: with working links, pictures in files, and explorers that move."""

import base64
import html
import io
import re
from pathlib import Path

import nbformat
from addresses import binder, colab, source
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_output
from PIL import Image

from dpo_notes.places import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")


def page_of(path: Path, pages: list[str], explorers: dict[str, str], pictures: Path, address: str) -> NotebookNode:
    """The notebook at `path`, changed for the website.

    pages: the notebooks that have a page, as paths below notebooks/. explorers: HTML by cell id. pictures, address: the
    folder for the pictures, and its address relative to the page.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda link: f"]({target_of(link[1], path, pages)})", cell.source)
        elif cell.id in explorers:
            cell.outputs = [html_output(explorers[cell.id])]
        else:
            for number, output in enumerate(cell.outputs):
                cell.outputs[number] = picture_output(output, pictures, address, f"{cell.id}-{number}")
    if path.parent.name == "notebooks":
        notebook.cells.insert(1, run_it(f"notebooks/{path.name}"))
    return notebook


def target_of(target: str, path: Path, pages: list[str]) -> str:
    """The target on the website of a link in the notebook at `path`: a page, or the file in the repository."""
    if "://" in target:
        return target
    file, _, heading = target.partition("#")
    anchor = f"#{heading.lower()}" if heading else ""
    if not file:
        return anchor
    here = (path.parent / file).resolve()
    is_page = here.is_relative_to(ROOT / "notebooks") and here.relative_to(ROOT / "notebooks").as_posix() in pages
    return file + anchor if is_page else source(here.relative_to(ROOT).as_posix()) + anchor


def run_it(path: str) -> NotebookNode:
    """The line below the title with links to run this notebook."""
    links = {"Colab": colab(path), "Binder": binder(path), "its source": source(path)}
    said = " · ".join(f'<a href="{html.escape(link)}">{words}</a>' for words, link in links.items())
    return new_markdown_cell(f'<p class="run-it">Run this notebook: {said}</p>')


def picture_output(output: NotebookNode, pictures: Path, address: str, name: str) -> NotebookNode:
    """An output with its PNG in a separate file, and the picture's sentence as alternative text."""
    data = output.get("data", {})
    if "image/png" not in data:
        return output
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    pictures.mkdir(parents=True, exist_ok=True)
    picture.save(pictures / f"{name}.webp", lossless=True)
    words = html.escape(output.metadata.get("image/png", {}).get("alt", data.get("text/plain", "")))
    width, height = picture.size
    return html_output(f'<img width="{width}" height="{height}" alt="{words}" src="{address}/{name}.webp">')


def html_output(code: str) -> NotebookNode:
    return new_output("display_data", data={"text/html": code})
