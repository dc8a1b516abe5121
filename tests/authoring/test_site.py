"""The website: grids, pages, links; and in a browser, from a plain folder without network, sliders moved by keyboard.

DPO_NOTES_SCREENSHOTS=FOLDER keeps pictures of what the browser shows.
"""

import importlib
import inspect
import json
import math
import multiprocessing
import os
import pkgutil
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import addresses
import ipywidgets as W
import pytest
from bs4 import BeautifulSoup
from build_site import build
from notebook_page import Page
from site_explorers import draw, explorers_of
from site_pages import target_of

import dpo_notes
from dpo_notes import lessons
from dpo_notes.places import ROOT
from dpo_notes.teaching.grid import MOST
from dpo_notes.teaching.live import Explorer

pytest_plugins = ["browser_fixtures"]

NOTEBOOKS = ROOT / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
SMALL = [NOTEBOOKS / "00_start_here.ipynb", NOTEBOOKS / "01_language_models.ipynb"]
EXPLORER_BYTES, SITE_BYTES = 1.5e6, 50e6
MISSING = re.compile(r"VBox\(|HBox\(|<dpo_notes\.|widget|Loading", re.IGNORECASE)  # shown when a widget has no picture
CLASSES = [
    thing
    for module in pkgutil.walk_packages(lessons.__path__, lessons.__name__ + ".")
    if module.name.endswith(".explorers")
    for thing in vars(importlib.import_module(module.name)).values()
    if inspect.isclass(thing) and issubclass(thing, Explorer) and thing.__module__ == module.name
]


class Line(Explorer):
    """A line whose slope, ends and colour can be chosen, a name to type and a button to click."""

    size = (4.0, 3.0)
    page_controls = ("colour", "slope", "dashed")

    def make_controls(self):
        return {
            "slope": W.FloatSlider(value=1.0, min=-2.0, max=2.0, step=0.1, description="slope & rise"),
            "colour": W.Dropdown(options=["green", "black"], value="black", description="colour"),
            "dashed": W.Checkbox(value=False, description="dashed"),
            "name": W.Text(value="line", description="name"),
        }

    def make_buttons(self):
        return {"Lay it flat": lambda: None}

    def build(self, figure):
        (self.line,) = figure.subplots().plot([-2, 2], [-2, 2])
        return [self.line]

    def move(self, *, slope, colour, dashed, name):
        self.line.set(ydata=[-slope, slope], color=colour, linestyle="--" if dashed else "-")

    def describe(self, *, slope, colour, dashed, name):
        return f"A {colour} <{name}> rises by {slope:.1f}{', dashed' * dashed}."


# Grids.


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind.page_controls], ids=lambda kind: kind.__name__)
def test_what_moves_on_the_website_are_controls_of_the_explorer(kind):
    source = inspect.getsource(inspect.getmodule(kind))  # some explorers share controls
    for name in kind.page_controls:
        assert f'"{name}"' in source


def grid_sizes(path: Path) -> dict[str, int]:
    """The number of combinations of each explorer of a notebook; called in its own process, because cells are run."""
    return {name: math.prod(map(len, explorer.page_grid().values())) for name, explorer in explorers_of(path)}


@pytest.mark.notebooks
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_explorer_of_the_notebooks_has_a_grid_of_2_to_80_combinations(path):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        sizes = pool.submit(grid_sizes, path).result()
    assert list(sizes) == [cell.id for cell in Page(path).explorer_cells]
    assert all(2 <= size <= MOST for size in sizes.values()), sizes


# What the script in the page relies on.


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """The folder of a drawn explorer's pictures, and its HTML."""
    folder = tmp_path_factory.mktemp("pictures") / "line"
    return folder, BeautifulSoup(draw(Line(), folder, "pictures/line", name="line"), "html.parser").figure


def test_there_is_a_picture_and_a_sentence_for_every_combination_the_last_control_moving_fastest(line):
    folder, figure = line
    counts = [int(control["data-count"]) for control in figure.select("[data-count]")]
    sentences = json.loads(figure.script.string)
    assert counts[0] == 2 and counts[2] == 2 and math.prod(counts) == len(sentences) <= MOST
    assert {file.name for file in folder.iterdir()} == {f"{number}.webp" for number in range(len(sentences))}
    assert sentences[:2] == ["A green <line> rises by -2.0.", "A green <line> rises by -2.0, dashed."]
    assert sentences[-1] == "A black <line> rises by 2.0, dashed."
    pictures = {(folder / f"{number}.webp").read_bytes() for number in range(len(sentences))}
    assert len(pictures) == len(sentences)


def test_without_the_script_the_picture_and_sentence_of_the_notebook_are_shown(line):
    _, figure = line
    sentence = Line().words
    number = json.loads(figure.script.string).index(sentence)
    assert figure.img["src"] == f"pictures/line/{number}.webp" == f"{figure['data-pictures']}/{number}.webp"
    assert figure.img["alt"] == figure.select_one("[role=status]").text == sentence
    assert (figure.img["width"], figure.img["height"]) == ("400", "300")


def test_every_control_has_its_name_and_starts_where_the_notebook_does(line):
    _, figure = line
    names = {label["for"]: label.text for label in figure.select("label")}
    assert list(names.values()) == ["colour", "slope & rise", "dashed"]
    assert set(names) == {control["id"] for control in figure.select("[data-count]")}
    assert figure.select_one("option[selected]").text == "black"
    handle = figure.select_one("[type=range]")
    assert handle["aria-valuetext"] == "1" == json.loads(handle["data-words"])[int(handle["value"])]
    assert not figure.select_one("[type=checkbox]").has_attr("checked")


def test_what_needs_a_kernel_is_said_in_words(line):
    _, figure = line
    said = figure.select_one(".explorer-fixed").text
    fixed = "Fixed on this page, to be moved in the notebook: name: line."
    assert said == f"{fixed} Buttons in the notebook: “Lay it flat”."


# Addresses.


@pytest.mark.parametrize(
    ("target", "leads_to"),
    [
        ("https://arxiv.org/abs/2305.18290", "https://arxiv.org/abs/2305.18290"),
        ("01_language_models.ipynb", "01_language_models.ipynb"),
        ("01_language_models.ipynb#Exercises", "01_language_models.ipynb#exercises"),
        ("#Exercises", "#exercises"),
        ("12_beyond_dpo.ipynb", addresses.source("notebooks/12_beyond_dpo.ipynb")),
        ("../data/README.md", addresses.source("data/README.md")),
    ],
)
def test_links_lead_to_a_page_or_else_into_the_repository(target, leads_to):
    assert target_of(target, SMALL[0], ["00_start_here.ipynb", "01_language_models.ipynb"]) == leads_to


def test_the_container_for_development_is_set_up_by_the_one_command():
    described = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    assert described["postCreateCommand"] == "python run.py doctor"


# A site of two notebooks.


@pytest.fixture(scope="module")
def small_site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    assert build(SMALL, folder) == 0
    return folder


@pytest.mark.notebooks
def test_two_notebooks_make_a_site_in_which_nothing_is_missing(small_site):
    for path in SMALL:
        page = soup_of(small_site / f"{path.stem}.html")
        assert len(page.select("figure.explorer")) == len(Page(path).explorer_cells)
        assert "Make a guess:" in page.text and "not tried yet" in page.text
    assert_whole(small_site)


@pytest.mark.notebooks
def test_the_public_names_have_a_page_with_signatures_and_docstrings(small_site):
    page = soup_of(small_site / "api.html")
    assert [heading.text.rstrip("¶#") for heading in page.select("h2")] == dpo_notes.__all__
    for words in ("label_smoothing: float = 0.0", "nats of reward per nat of log-ratio", "simpo", ".finish"):
        assert words in page.text, words


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_notebooks_make_a_site_in_which_nothing_is_missing(tmp_path):
    assert build(PATHS, tmp_path / "site") == 0
    assert len(list((tmp_path / "site").rglob("[0-9]*.html"))) == 2 * len(PATHS)
    assert_whole(tmp_path / "site")


def soup_of(page: Path) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


def assert_whole(site: Path) -> None:
    """Links resolve, nothing comes from elsewhere, every picture has its words, and nothing is too large."""
    pages = {page: soup_of(page) for page in site.rglob("*.html")}
    for page, soup in pages.items():
        for part in soup.select("script[src], link[href], img[src]"):
            assert "//" not in (part.get("src") or part.get("href")), part
        for image in soup.select(".cell img, figure.explorer img"):
            assert image["alt"].strip(), image["src"]
        for link in [part.get("src") or part.get("href") for part in soup.select("[src], [href]")]:
            if not re.match(r"https?:|mailto:", link):
                assert resolves(link, page, pages), f"{page.name}: {link}"
        for output in soup.select(".cell_output"):
            assert not MISSING.search(output.text), output.text
    for explorer in [folder for folder in (site / "pictures").rglob("*") if (folder / "1.webp").exists()]:
        assert sum(file.stat().st_size for file in explorer.iterdir()) <= EXPLORER_BYTES, explorer
    assert sum(file.stat().st_size for file in site.rglob("*") if file.is_file()) <= SITE_BYTES


def resolves(link: str, page: Path, pages: dict[Path, BeautifulSoup]) -> bool:
    """Whether a relative link leads to a file, and to a place in it."""
    file, _, place = unquote(link.split("?")[0]).partition("#")
    target = (page.parent / file).resolve() if file else page
    return target.is_file() and (not place or target not in pages or pages[target].find(id=place) is not None)


# In a browser.

PLACE = "figure => [figure.querySelector('img').src, figure.querySelector('[role=status]').innerText]"


@pytest.fixture
def opened(chromium, small_site):
    """Opens a page of the small site from its folder, without a network; at the end nothing must have failed."""
    complaints, contexts = [], []

    def open_page(name: str, **settings: object):
        contexts.append(chromium.new_context(offline=True, **settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        name, asked, query = name.partition("?")
        page.goto((small_site / name).as_uri() + asked + query)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def keep(page, name: str) -> None:
    if folder := os.environ.get("DPO_NOTES_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.mark.browser
@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_every_slider_moves_picture_and_sentence_by_keyboard(path, opened):
    page = opened(f"{path.stem}.html")
    for figure in page.locator("figure.explorer").all():
        for handle in figure.get_by_role("slider").all():
            handle.focus()
            assert handle.evaluate("handle => getComputedStyle(handle).outlineStyle") == "solid"
            handle.press("Home")
            before, word = figure.evaluate(PLACE), handle.get_attribute("aria-valuetext")
            handle.press("ArrowRight")
            assert figure.evaluate(PLACE)[0] != before[0] and handle.get_attribute("aria-valuetext") != word
            handle.press("End")  # neighbours may have the same to say
            after = figure.evaluate(PLACE)
            assert after[0] != before[0] and after[1] != before[1]
            picture = figure.locator("img")
            assert picture.get_attribute("alt") == after[1]
            page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
        figure.scroll_into_view_if_needed()
        keep(page, f"site-{path.stem}-{figure.evaluate('figure => figure.dataset.pictures.split(`/`).pop()')}")


@pytest.mark.browser
def test_a_prompt_is_chosen_from_a_list_of_six(opened):
    page = opened("01_language_models.html")
    prompts = page.get_by_label("prompt", exact=True)
    figure = page.locator("figure.explorer", has=prompts)
    assert prompts.locator("option").count() == 6
    before = figure.evaluate(PLACE)
    prompts.select_option(index=3)
    assert figure.evaluate(PLACE)[0] != before[0] and figure.evaluate(PLACE)[1] != before[1]


@pytest.mark.browser
def test_every_formula_is_set_and_none_is_broken(opened):
    for path in SMALL:
        page = opened(f"{path.stem}.html")
        page.wait_for_function("window.MathJax?.startup?.promise?.then(() => true)")
        assert page.locator("mjx-container").count() > 20
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
        texts = page.evaluate("[...document.querySelectorAll('.math')].map(formula => formula.innerText)")
        assert not [text for text in texts if "\\" in text]


@pytest.mark.browser
def test_without_scripts_the_pictures_are_there_and_no_dead_control(opened):
    page = opened("01_language_models.html", java_script_enabled=False)
    figures = page.locator("figure.explorer")
    assert figures.locator("img").first.is_visible()
    assert not figures.get_by_role("slider").first.is_visible()


@pytest.mark.browser
def test_the_page_is_dark_where_the_reader_wants_it_dark(opened):
    grounds = {}
    for scheme in ("light", "dark"):
        page = opened("00_start_here.html", color_scheme=scheme)
        keep(page, f"site-{scheme}")
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = {name: sum(map(int, re.findall(r"\d+", ground)[:3])) for name, ground in grounds.items()}
    assert brightness["dark"] < 200 and brightness["light"] > 600


@pytest.mark.browser
def test_on_a_narrow_screen_nothing_is_wider_than_the_page(opened):
    page = opened("01_language_models.html", viewport={"width": 390, "height": 800})
    keep(page, "site-narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.browser
def test_on_paper_the_picture_stays_and_what_cannot_be_moved_is_gone(opened):
    page = opened("00_start_here.html")
    page.emulate_media(media="print")
    figure = page.locator("figure.explorer")
    assert figure.locator("img").is_visible() and figure.get_by_role("status").is_visible()
    assert not figure.get_by_role("slider").is_visible()


@pytest.mark.browser
def test_search_finds_a_word(opened):
    page = opened("search.html?q=perplexity")
    page.get_by_role("link", name="01 Language models", exact=True).last.wait_for()
    results = page.locator("#search-results li a").all_inner_texts()
    assert "01 Language models" in results and "00 Start here" not in results
