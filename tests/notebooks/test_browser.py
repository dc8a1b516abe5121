"""In JupyterLab every explorer follows its sliders: picture and sentence change, and nothing flickers or fails.

JupyterLab's MathJax sets every formula.
DPO_NOTES_BROWSER=required makes a missing browser a failure; DPO_NOTES_SCREENSHOTS=FOLDER keeps a picture of each explorer.
"""

import contextlib
import os
from pathlib import Path

import nbformat
import pytest
from lab_page import COUNT_PICTURES, TOKEN, close, explorers, explorers_only, lab, open_and_run
from nbformat.v4 import new_markdown_cell, new_notebook
from playwright.sync_api import Browser, Locator, TimeoutError

from dpo_notes.places import NOTEBOOKS

PATHS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
SECONDS = 180  # for what takes one second on an idle machine
PRESSES = 8  # in most explorers each step of a slider shows; in all of them a few steps do
HARMLESS: dict[str, str] = {}  # part of a console error, and why it says nothing about the notebooks
# Looks at every frame while `window.watch.on`: one in which the picture is missing or not yet decoded is blank.
WATCH_FRAMES = """
explorer => {
    const watch = window.watch = {frames: 0, blank: 0, on: true};
    const look = () => {
        const image = explorer.querySelector('.widget-html img');
        watch.frames += 1;
        if (!image?.complete || !image.naturalWidth || !image.getBoundingClientRect().height) watch.blank += 1;
        if (watch.on) requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}
"""
STATE = "explorer => [explorer.querySelector('img').src, explorer.querySelector('[role=status]').innerText]"
# Resolves to what of picture and sentence has changed, once both have or the time is over.
CHANGED = """
(explorer, [[src, words], milliseconds]) => new Promise(resolve => {
    const start = performance.now();
    const look = () => {
        const image = explorer.querySelector('img'), status = explorer.querySelector('[role=status]');
        const changed = [image?.src !== src, status?.innerText !== words];
        if (changed.every(Boolean) || performance.now() - start > milliseconds) resolve(changed);
        else requestAnimationFrame(look);
    };
    look();
})
"""
# Controls without a name for a screen reader; the box beside a Play does what its keys do.
UNNAMED = """
explorer => [...explorer.querySelectorAll('input, select, textarea, button:not(.widget-play button)')]
    .filter(part => part.offsetParent && !(part.labels?.[0]?.innerText || part.innerText || part.title
                                          || part.getAttribute('aria-label') || '').trim())
    .map(part => part.outerHTML)
"""
# The texts outside code and formulas that still hold what should have become a formula, once the page has been given time.
NOT_SET = """
() => {
    const texts = [];
    for (const rendered of document.querySelectorAll('.jp-RenderedMarkdown')) {
        const walk = document.createTreeWalker(rendered, NodeFilter.SHOW_TEXT);
        while (walk.nextNode()) {
            const {data, parentElement} = walk.currentNode;
            if (/\\$|\\\\[a-zA-Z]/.test(data) && !parentElement.closest('mjx-container, code, pre')) texts.push(data);
        }
    }
    return texts;
}
"""
# MathJax marks what it cannot read as an error, and shows a command that it does not know in red.
BROKEN = "formulas => formulas.map(formula => formula.closest('.jp-Cell').innerText)"

pytest_plugins = ["browser_fixtures"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def running_lab(chromium, tmp_path_factory):
    """The folder of the server's notebooks and its address."""
    folder = tmp_path_factory.mktemp("lab")
    with lab(folder) as address:
        yield folder / "notebooks", address


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_slider_of_every_explorer_moves_picture_and_sentence(path, chromium: Browser, running_lab):
    folder, address = running_lab
    count = len(explorers_only(path, folder / path.name))
    page = chromium.new_page(viewport={"width": 1400, "height": 1200})
    page.set_default_timeout(1000 * SECONDS)
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    open_and_run(page, address, path.name, seconds=SECONDS)
    for place, explorer in enumerate(explorers(page, count, seconds=SECONDS), start=1):
        assert explorer.evaluate(UNNAMED) == []
        explorer.evaluate(WATCH_FRAMES)
        for number, handle in enumerate(explorer.get_by_role("slider").all(), start=1):
            assert moves(explorer, handle) == [True, True], f"slider {number} of explorer {place}: picture, sentence"
        watch = page.evaluate("() => { window.watch.on = false; return window.watch; }")
        assert watch["blank"] == 0, f"explorer {place}: {watch['blank']} of {watch['frames']} frames are blank"
        if keep := os.environ.get("DPO_NOTES_SCREENSHOTS"):
            explorer.screenshot(path=Path(keep) / f"{path.stem}-{place}.png")
    assert [words for words in errors if not any(part in words for part in HARMLESS)] == []
    close(page)


def test_live_training_draws_while_it_trains_and_stops_when_asked(chromium: Browser, running_lab):
    folder, address = running_lab
    (path,) = NOTEBOOKS.glob("10_*.ipynb")
    names = explorers_only(path, folder / f"live-{path.name}")
    page = chromium.new_page(viewport={"width": 1400, "height": 1200})
    page.set_default_timeout(1000 * SECONDS)
    open_and_run(page, address, f"live-{path.name}", seconds=SECONDS)
    live = explorers(page, len(names), seconds=SECONDS)[names.index("explore-live")]
    live.evaluate(COUNT_PICTURES)
    live.get_by_role("button", name="Start").click()
    page.wait_for_function("() => window.drawn.length >= 5")
    live.get_by_role("button", name="Pause").click()
    page.wait_for_function("() => /paused/i.test(window.said())")
    said, drawn = page.evaluate("() => [window.said(), window.drawn.length]")
    page.wait_for_timeout(2000)
    assert page.evaluate("() => [window.said(), window.drawn.length]") == [said, drawn]
    live.get_by_role("button", name="Reset").click()
    page.wait_for_function("() => /^Step 0 /.test(window.said())")
    close(page)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_formula_is_set(path, chromium: Browser, running_lab):
    """Those of the notebook and of its solutions, in one page of their texts."""
    folder, address = running_lab
    both = [nbformat.read(file, as_version=4) for file in (path, path.parent / "solutions" / path.name)]
    texts = [new_markdown_cell(cell.source) for one in both for cell in one.cells if cell.cell_type == "markdown"]
    nbformat.write(new_notebook(cells=texts), folder / f"formulas-{path.name}")
    page = chromium.new_page()
    page.set_default_timeout(1000 * SECONDS)
    page.goto(f"{address}/lab/tree/formulas-{path.name}?token={TOKEN}&reset")
    page.wait_for_selector("mjx-container")
    with contextlib.suppress(TimeoutError):
        page.wait_for_function(f"() => !({NOT_SET.strip()})().length", timeout=1000 * SECONDS / 3)
    assert page.evaluate(NOT_SET) == []
    assert page.locator("mjx-container :is(merror, mtext[mathcolor=red])").evaluate_all(BROKEN) == []
    page.close()


def moves(explorer: Locator, handle: Locator) -> list[bool]:
    """Whether picture and sentence change when a slider is moved by its keys, away from the end where it stands.

    The slider is put back, since others may have nothing to say where it has gone.
    """
    now, highest = (float(handle.get_attribute(name)) for name in ("aria-valuenow", "aria-valuemax"))
    there, back = ("ArrowLeft", "ArrowRight") if now >= highest else ("ArrowRight", "ArrowLeft")
    before = explorer.evaluate(STATE)
    handle.focus()
    for press in range(1, PRESSES + 1):
        handle.press(there)
        changed = explorer.evaluate(CHANGED, [before, 1000 if press < PRESSES else 1000 * SECONDS / 6])
        if all(changed):
            break
    moved = explorer.evaluate(STATE)
    for _ in range(press):
        handle.press(back)
    explorer.evaluate(CHANGED, [moved, 3000])
    return changed


def test_the_copy_for_the_browser_holds_the_explorers_and_what_they_need(tmp_path):
    """Checked without a browser."""
    for path in PATHS:
        names = explorers_only(path, tmp_path / path.name)
        assert names
        assert f'"id": "{names[0]}"' in (tmp_path / path.name).read_text(encoding="utf-8")
