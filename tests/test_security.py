"""No file that is read can run a program, and no text from data can become part of a page."""

import ast
import json
import os
import re
from html.parser import HTMLParser

import pytest
import torch
from matplotlib.figure import Figure
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from dpo_notes.commands.report import write_samples
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.places import ROOT
from dpo_notes.teaching.labelling import Labeller, unlabelled
from dpo_notes.teaching.live import Explorer
from dpo_notes.teaching.picture import Picture
from dpo_notes.teaching.predict import KEPT, predict
from dpo_notes.teaching.side_by_side import SideBySide

PACKAGE = sorted((ROOT / "dpo_notes").rglob("*.py"))
PROGRAMS = [*PACKAGE, ROOT / "run.py", *sorted((ROOT / "authoring").glob("*.py"))]
PROGRAMS += sorted((ROOT / "benchmarks").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))

# What is read.

PICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
CALLS = {"torch.load", "torch.save", "pandas.read_pickle", "pd.read_pickle", "torch.hub.load"}
ONLY_FALSE = {"trust_remote_code", "allow_pickle"}


def load_paths(source: str) -> list[str]:
    """Every part of this Python text that loads, or can be set to load, a file which could hold a program."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        else:
            names = []
        found += [name for name in names if name.split(".")[0] in PICKLERS or name in CALLS]
        options = {}
        if isinstance(node, ast.Call):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        elif isinstance(node, ast.Dict):
            keys = (key.value if isinstance(key, ast.Constant) else None for key in node.keys)
            options = {key: ast.unparse(value) for key, value in zip(keys, node.values, strict=True)}
        found += [f"{name}={options[name]}" for name in ONLY_FALSE & options.keys() if options[name] != "False"]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "from_pretrained":
            without_weights = any(kind in ast.unparse(node.func) for kind in ("Tokenizer", "Config"))
            if not without_weights and options.get("use_safetensors") != "True":
                found.append(f"{ast.unparse(node.func)} without use_safetensors=True")
    return found


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_program_loads_no_file_that_could_hold_a_program(file):
    assert load_paths(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_notebook_loads_no_file_that_could_hold_a_program(file):
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = [line for line in "".join(cell["source"]).splitlines() if not line.startswith(("%", "!"))]
            assert load_paths("\n".join(lines)) == []


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import torch\ntorch.load('x')", "torch.load"),
        ("from torch import load", "torch.load"),
        ("import pickle", "pickle"),
        ("from joblib import load", "joblib"),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
        ("AutoModel.from_pretrained('x', use_safetensors=True, trust_remote_code=True)", "trust_remote_code=True"),
        ("options = {'trust_remote_code': asked}", "trust_remote_code=asked"),
        ("AutoModel.from_pretrained('x')", "AutoModel.from_pretrained without use_safetensors=True"),
        ("some_class.from_pretrained('x', use_safetensors=None)", "some_class.from_pretrained without"),
    ],
)
def test_each_way_to_load_a_program_is_found(source, finding):
    assert any(found.startswith(finding) for found in load_paths(source))


# What is shown.

NASTY = """<script>alert(1)</script>"'& <img src=x onerror=alert(1)>"""
MARKUP = re.compile(r"</?[a-z]+[ >/]")
ESCAPING = {"labelling.py", "live.py", "predict.py", "side_by_side.py", "harmless.py"}  # tested below, one by one


class Parsed(HTMLParser):
    """A page as a browser reads it: its tags with their attributes, and the text between them."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def harmless(page: str, text: str = NASTY) -> bool:
    """Whether a page shows this text as text: all of it is there, and none of it became a tag or an attribute."""
    parsed = Parsed(page)
    attributes = [(name, value) for _, found in parsed.tags for name, value in found.items()]
    made = [tag for tag, _ in parsed.tags if tag == "script"] + [name for name, _ in attributes if name == "onerror"]
    return made == [] and (text in parsed.text or text in [value for _, value in attributes])


def strings(tree: ast.AST) -> list[str]:
    """Every text in a program but its docstrings."""
    owners = ast.Module, ast.ClassDef, ast.FunctionDef
    docs = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, owners) and ast.get_docstring(n, clean=False)}
    return [
        n.value
        for n in ast.walk(tree)
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and id(n) not in docs
    ]


def test_markup_is_written_only_where_a_test_holds_the_file_to_escaping():
    found = {file.name for file in PACKAGE if any(map(MARKUP.search, strings(ast.parse(file.read_text("utf-8")))))}
    assert found == ESCAPING


def test_no_widget_is_allowed_markup_in_its_description():
    assert [file for file in PACKAGE if "allow_html" in file.read_text(encoding="utf-8")] == []


@pytest.fixture
def labeller(tmp_path) -> Labeller:
    pairs = [PreferencePair(NASTY, NASTY + "1", NASTY + "2")]
    comparisons = unlabelled(pairs, generator=torch.Generator().manual_seed(0))
    return Labeller(comparisons, path=tmp_path / "mine.jsonl")


def test_comparisons_to_label_are_escaped_with_a_kernel_and_without(labeller):
    assert harmless(labeller.view.value)
    assert harmless(labeller._repr_mimebundle_()["text/html"])


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no such file name")
def test_the_name_of_the_file_of_comparisons_is_escaped(tmp_path):
    name = "<script>alert(1)<img onerror=alert(1)>&.jsonl"
    assert harmless(Labeller([], path=tmp_path / name).status.value, name)


def test_answers_side_by_side_are_escaped_and_so_are_their_headings():
    assert harmless(SideBySide([NASTY], {NASTY: [NASTY]})._repr_mimebundle_()["text/html"])


def test_a_prediction_is_escaped_in_its_question_its_unit_and_what_is_kept():
    prediction = predict(NASTY, options=(NASTY, "no"), unit=NASTY)
    prediction.choice.value = NASTY
    prediction.keep()
    del KEPT[NASTY]
    words, *_ = prediction.children
    assert harmless(words.value) and harmless(prediction.status.value)


class Quoting(Explorer):
    """An explorer whose sentence, or error message, is text from the data."""

    refuses = False

    def make_controls(self):
        return {}

    def build(self, figure):
        return []

    def move(self):
        if self.refuses:
            raise InputError(NASTY)

    def describe(self):
        return NASTY


def test_what_an_explorer_says_breaks_out_of_neither_its_picture_nor_its_status_line():
    explorer = Quoting()
    for _ in range(2):
        page = Parsed(explorer.view.value)
        (image, looks), (status, role) = page.tags
        assert (image, status, role) == ("img", "p", {"role": "status"})
        assert set(looks) == {"width", "height", "style", "alt", "src"}
        assert looks["alt"] == page.text == NASTY
        explorer.refuses = True
        explorer.refresh()


def test_the_words_of_a_picture_are_escaped_where_a_notebook_becomes_a_page():
    """A picture's words are plain text: the program that makes a page of them, here nbconvert, escapes them."""
    data, metadata = Picture(Figure(), NASTY)._repr_mimebundle_()
    cell = new_code_cell("picture", outputs=[new_output("display_data", data, metadata=metadata)])
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(new_notebook(cells=[cell]))
    assert harmless(page)


def test_samples_before_and_after_are_escaped(tmp_path):
    write_samples(tmp_path / "samples.md", [NASTY], [NASTY], [NASTY])
    assert harmless((tmp_path / "samples.md").read_text(encoding="utf-8"))
