"""Decks load nothing from the network, link to each other, and cut nothing off a slide."""

import re
from pathlib import Path

import deck_files
import pytest
import slides
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_page import Page

from dpo_notes.places import NOTEBOOKS

pytest_plugins = ["browser_fixtures"]

PATH = NOTEBOOKS / "06_bradley_terry.ipynb"


@pytest.fixture(scope="module")
def deck() -> str:
    return slides.deck(PATH)


def loaded(html: str) -> list[str]:
    """The sources of all scripts, styles and pictures that a browser fetches for a page."""
    media = re.findall(r"<(?:script|img|iframe|source|video)\b[^>]*?\bsrc=\"([^\"]+)\"", html)
    sheets = re.findall(r"<link\b[^>]*?\bhref=\"([^\"]+)\"", html)
    return media + sheets + re.findall(r"(?:@import |\burl\()[\"']?([^\"')\s;]+)", html)


def test_a_deck_loads_nothing_from_elsewhere(deck):
    for source in loaded(deck):
        assert source.startswith(("assets/", "data:image/", "#")), source[:80]
    assert not re.search(r"\b(?:require|jquery|mermaid|unpkg|cdnjs|jsdelivr)\b", deck, re.IGNORECASE)


def test_every_picture_of_a_notebook_stands_in_its_deck_with_its_words(deck):
    """Also those of explorers; but not the code that only draws."""
    drawn = [cell for cell in Page(PATH).code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(re.findall(r"<img[^>]* src=\"data:image/png", deck)) == len(drawn)
    assert not re.search(r"<img(?![^>]*\balt=\"[^\"])", deck)
    assert "new_figure" not in deck and "preference_nll" in deck


def test_a_deck_has_no_exercise_no_hint_and_no_import(deck):
    assert not re.search(r"Exercise 06|<summary>|not tried yet|SEED = 0", deck)
    assert deck.count('class="fragment"') == sum(
        cell.metadata.get("slideshow", {}).get("slide_type") == "fragment" for cell in Page(PATH).cells
    )


def test_links_lead_to_decks_or_away_and_others_are_words():
    source = "[05](05_reward_model.ipynb), [card](../data/README.md), [below](#Exercises), [paper](https://arxiv.org/1)"
    (cell,) = slides.for_deck(new_notebook(cells=[new_markdown_cell(source)])).cells
    assert cell.source == "[05](05_reward_model.html), card, below, [paper](https://arxiv.org/1)"


@pytest.mark.parametrize(
    ("data", "left_out"),
    [
        ({"image/png": "x"}, True),
        ({"text/html": "x"}, True),
        ({"text/plain": "Make a guess: a?"}, True),
        ({"text/plain": "3"}, False),
    ],
)
def test_code_that_only_shows_something_is_left_out(data, left_out):
    cell = new_code_cell("1 + 2", outputs=[new_output("display_data", data=data)])
    (made,) = slides.for_deck(new_notebook(cells=[cell])).cells
    assert (slides.UNSEEN in made.metadata.get("tags", [])) is left_out
    assert "tags" not in cell.metadata, "the notebook itself is left as it is"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """One deck beside its files, in a plain folder."""
    folder = tmp_path_factory.mktemp("decks")
    deck_files.copy_files(folder / "assets")
    (folder / "06.html").write_text(slides.deck(PATH), encoding="utf-8")
    return folder


def test_what_a_deck_loads_stands_beside_it_with_its_licence(built):
    for source in loaded((built / "06.html").read_text(encoding="utf-8")):
        assert source.startswith(("data:", "#")) or (built / source).is_file(), source[:80]
    assert "Permission is hereby granted" in (built / "assets" / "reveal" / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in (built / "assets" / "mathjax" / "LICENSE").read_text(encoding="utf-8")


def test_a_package_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(deck_files, "FILES", {"no-such-package": {"a": "b"}})
    with pytest.raises(FileNotFoundError, match="pip install -r authoring/site-requirements.txt"):
        deck_files.copy_files(tmp_path)


OVERFLOWS = """() => {
  const slide = Reveal.getCurrentSlide(), box = slide.getBoundingClientRect(), scale = Reveal.getScale();
  const inner = slide.firstElementChild.getBoundingClientRect();
  const scrolls = getComputedStyle(slide).overflowY === "auto";
  return {wide: inner.width > 1280.5 * scale || slide.scrollWidth > 1281, tall: inner.height > 720.5 * scale && !scrolls, scrolls};
}"""


@pytest.mark.browser
def test_a_deck_opens_from_a_plain_folder_and_cuts_nothing_off(built, chromium):
    """Offline, step by step through every slide: formulas are set, and what is too tall can be scrolled."""
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    troubles, asked = [], []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((built / "06.html").as_uri())
    page.wait_for_selector("body[data-ready]", timeout=60_000)
    assert page.evaluate("document.querySelectorAll('mjx-container').length") > 100
    assert page.evaluate("document.querySelectorAll('mjx-merror, [data-mjx-error]').length") == 0
    moves = page.locator(".slides .jp-RenderedMarkdown > ol > li")
    assert moves.count() > 20
    assert moves.evaluate_all("all => all.every(move => move.classList.contains('fragment'))")  # one by one
    seen = 0
    while True:
        seen += 1
        found = page.evaluate(OVERFLOWS)
        assert not found["wide"] and not found["tall"], page.url
        if page.evaluate("Reveal.isLastSlide()"):
            break
        page.evaluate("() => { while (Reveal.availableFragments().next) Reveal.nextFragment(); Reveal.next(); }")
    assert seen == page.evaluate("Reveal.getTotalSlides()")
    assert troubles == [] and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
