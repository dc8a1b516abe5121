"""No file that is read can run a program, and no text from data can become part of a page."""

import ast
import json
import re

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
    """Whatever in this Python text reads a file, or may be told to read one, that could hold a program."""
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
def test_a_program_reads_nothing_that_could_hold_a_program(file):
    assert load_paths(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_notebook_reads_nothing_that_could_hold_a_program(file):
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            lines = [line for line in "".join(cell["source"]).splitlines() if not line.startswith(("%", "!"))]
            assert load_paths("\n".join(lines)) == []


@pytest.mark.parametrize(
    ("source", "told"),
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
def test_each_load_path_would_be_found(source, told):
    assert any(found.startswith(told) for found in load_paths(source))


# What is shown.

NASTY = """<script>alert(1)</script>"'& <img src=x onerror=alert(1)>"""
MARKUP = re.compile(r"</?[a-z]+[ >/]")
ESCAPING = {
    "labelling.py",
    "live.py",
    "predict.py",
    "side_by_side.py",
    "harmless.py",
}  # the tests below hold each to it


def harmless(page: str) -> bool:
    """Whether a page shows NASTY as text: it is there, and opens no tag and closes no attribute."""
    shown = "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    return shown and "<script>alert" not in page and "<img src=x" not in page and """</script>"'""" not in page


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
    labeller._say(NASTY)
    assert harmless(labeller.status.value)


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
    """An explorer that says what stands in the data, or is told by an error what does."""

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


def test_what_an_explorer_says_is_escaped_in_its_picture_and_its_status_line():
    explorer = Quoting()
    for _ in range(2):
        assert harmless(explorer.view.value)
        assert explorer.view.value.count('"') == 12  # those of its six attributes: the words close none of them
        explorer.refuses = True
        explorer.refresh()


def test_the_words_of_a_picture_are_escaped_where_a_notebook_becomes_a_page():
    """A picture's words are data, not markup: whoever makes a page of them escapes them, as nbconvert does."""
    data, metadata = Picture(Figure(), NASTY)._repr_mimebundle_()
    cell = new_code_cell("picture", outputs=[new_output("display_data", data, metadata=metadata)])
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(new_notebook(cells=[cell]))
    assert harmless(page)


def test_samples_before_and_after_are_escaped(tmp_path):
    write_samples(tmp_path / "samples.md", [NASTY], [NASTY], [NASTY])
    assert harmless((tmp_path / "samples.md").read_text(encoding="utf-8"))
