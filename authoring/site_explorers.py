"""The explorers of a notebook for the website: a picture and a sentence for every combination of their `page_grid`."""

import base64
import html
import io
import json
import os
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path

import ipywidgets as W
from IPython.core.interactiveshell import InteractiveShell
from notebook_page import Page
from PIL import Image

from dpo_notes.teaching.grid import CHOICES, named_values
from dpo_notes.teaching.live import Explorer

COLOURS = 256  # in a picture: no visible difference, and a quarter smaller


def draw_explorers(notebook: Path, pictures: Path, address: str) -> dict[str, str]:
    """Draw the explorers of a notebook into folders below `pictures`; returns the HTML of each by its cell's id.

    address: of `pictures`, relative to the notebook's page.
    """
    return {
        name: draw(explorer, pictures / name, f"{address}/{name}", name=name)
        for name, explorer in explorers_of(notebook)
    }


def explorers_of(notebook: Path) -> Iterator[tuple[str, Explorer]]:
    """The explorers of a notebook, each with its cell's id.

    Runs only their cells and the cells that these need, in the notebook's folder, which becomes the working directory
    of this process.
    """
    page, shell = Page(notebook.resolve()), InteractiveShell.instance()
    os.chdir(page.path.parent)
    for cell in page.with_needs(page.explorer_cells):
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            result = shell.run_cell(cell.source)
        result.raise_error()
        if cell in page.explorer_cells:
            yield cell.id, result.result


def draw(explorer: Explorer, folder: Path, address: str, *, name: str) -> str:
    """Write a picture for each combination, 0.webp and so on, the last control changing fastest; returns the HTML."""
    folder.mkdir(parents=True)
    start, grid, words = explorer.values, explorer.page_grid(), []
    for number, place in enumerate(product(*grid.values())):
        explorer.go_to(**dict(zip(grid, place, strict=True)))
        picture = Image.open(io.BytesIO(base64.b64decode(explorer.png)))
        picture = picture.quantize(COLOURS, dither=Image.Dither.NONE).convert("RGB")
        picture.save(folder / f"{number}.webp", lossless=True, quality=40)
        words.append(explorer.words)
    places = {control: values.index(start[control]) if control in start else 0 for control, values in grid.items()}
    return figure_html(explorer, grid, places, words, address, name=name)


def figure_html(
    explorer: Explorer, grid: dict[str, list], places: dict[str, int], words: list[str], address: str, *, name: str
) -> str:
    """The figure for explorer.js: the controls, the first picture and sentence, and the list of all sentences."""
    controls = explorer.make_controls()  # new ones: the explorer's have passed their names to the boxes beside them
    number = 0
    for control, values in grid.items():
        number = number * len(values) + places[control]
    width, height = explorer.canvas.get_width_height()
    rows = [
        control_html(controls.get(control), control, values, places[control], f"{name}-{control}")
        for control, values in grid.items()
    ]
    sentences = json.dumps(words, ensure_ascii=False).replace("</", "<\\/")
    now = html.escape(words[number])
    lines = [
        f'<figure class="explorer" data-pictures="{html.escape(address)}">',
        *('<div class="explorer-controls">', *rows, "</div>"),
        f'<img width="{width}" height="{height}" alt="{now}" src="{html.escape(address)}/{number}.webp">',
        f'<figcaption role="status">{now}</figcaption>',
        *only_there(explorer, {label: control for label, control in controls.items() if label not in grid}),
        *(f'<script type="application/json">{sentences}</script>', "</figure>"),
    ]
    return "\n".join(lines)


def control_html(control: W.ValueWidget | None, label: str, values: list, place: int, identity: str) -> str:
    """A list, a check box or a slider with the words of its values; a slider if the notebook has no such control."""
    description = html.escape(control.description if control else label)
    said = [html.escape(word_for(control, value)) for value in values]
    data = f'id="{identity}" data-count="{len(values)}" autocomplete="off"'
    if isinstance(control, W.Dropdown | W.Text):
        options = [f"<option{' selected' * (number == place)}>{word}</option>" for number, word in enumerate(said)]
        field = f"<select {data}>{''.join(options)}</select>"
    elif isinstance(control, W.Checkbox):
        field = f'<input type="checkbox" {data}{" checked" * place}>'
    else:
        words = html.escape(json.dumps([word_for(control, value) for value in values], ensure_ascii=False))
        field = (
            f'<input type="range" {data} min="0" max="{len(values) - 1}" step="1" value="{place}" '
            f'data-words="{words}" aria-valuetext="{said[place]}"><output for="{identity}">{said[place]}</output>'
        )
    return f'<label for="{identity}">{description}</label><span>{field}</span>'


def only_there(explorer: Explorer, controls: dict[str, W.ValueWidget]) -> list[str]:
    """A paragraph on the controls that are fixed on the page and work in the notebook."""
    said = [f"{control.description}: {word_for(control, explorer.values[name])}" for name, control in controls.items()]
    buttons = [f"“{words}”" for words in explorer.make_buttons()]
    lines = [f"Fixed on this page, to be moved in the notebook: {'; '.join(said)}."] * bool(said)
    lines += [f"Buttons in the notebook: {', '.join(buttons)}."] * bool(buttons)
    return [f'<p class="explorer-fixed">{html.escape(" ".join(lines))}</p>'] if lines else []


def word_for(control: W.ValueWidget | None, value: object) -> str:
    """A value as the notebook shows it."""
    if isinstance(control, CHOICES):
        return next(words for words, named in named_values(control) if named == value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
