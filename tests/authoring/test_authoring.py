"""Notebooks are executed by one command, and two executions write the same bytes."""

import sys
from pathlib import Path

import execute
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

pytestmark = pytest.mark.notebooks

CELLS = [
    "import os, sys\nprint(sys.executable)\nprint(os.getcwd())",
    "print({'a', 'b', 'c', 'd', 'e'})  # in the order of the hashes",
    "import time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.3)  # so that the words come in pieces",
    "import ipywidgets\nipywidgets.FloatSlider(description='beta')",
    """class Explorer(ipywidgets.VBox):
    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        return {**data, "image/png": "iVBORw0KGgo=", "text/plain": "the margin grows"}, {"image/png": {"alt": "the margin grows"}}

Explorer()""",
]


def notebook_of(path: Path, cells: list[str]) -> Path:
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    return path


def test_two_executions_write_the_same_bytes_and_keep_pictures_and_words(tmp_path, monkeypatch):
    path = notebook_of(tmp_path / "00_start.ipynb", CELLS)
    assert execute.main([str(path)]) == 0
    first = path.read_bytes()
    monkeypatch.setenv("PYTHONHASHSEED", "7")  # what the caller has set makes no difference
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert execute.main([str(path)]) == 0
    assert path.read_bytes() == first
    notebook = nbformat.reads(first.decode(), as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3, 4, 5]
    assert notebook.cells[0].outputs[0].text == f"{sys.executable}\n{tmp_path}\n"
    assert [output.text for output in notebook.cells[2].outputs] == ["0\n1\n2\n"]
    picture = notebook.cells[4].outputs[0]
    assert picture.data == {"image/png": "iVBORw0KGgo=", "text/plain": "the margin grows"}
    assert picture.metadata == {"image/png": {"alt": "the margin grows"}}
    for trace in (b"widget-view", b"widget-state", b"iopub", b"\r"):
        assert trace not in first


def test_a_failing_notebook_stays_as_it_was_and_the_others_are_still_executed(tmp_path, capsys):
    bad = notebook_of(tmp_path / "00_bad.ipynb", ["1 + 1", "raise RuntimeError('no such pair')"])
    good = [notebook_of(tmp_path / name, ["1 + 1"]) for name in ("01_good.ipynb", "02_good.ipynb")]
    before = bad.read_bytes()
    assert execute.main([str(path) for path in (bad, *good)]) == 1
    assert bad.read_bytes() == before
    for path in good:
        assert nbformat.read(path, as_version=4).cells[0].outputs[0].data["text/plain"] == "2"
    said = capsys.readouterr().out
    assert "00_bad.ipynb: failed" in said and "no such pair" in said and "\x1b" not in said
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name for path in (bad, *good)]


@pytest.mark.parametrize("content", [None, "", "{}", "not JSON"])
def test_what_is_not_a_notebook_is_said_to_fail(tmp_path, capsys, content):
    path = tmp_path / "00.ipynb"
    if content is not None:
        path.write_text(content)
    assert execute.main([str(path)]) == 1
    assert "00.ipynb: failed" in capsys.readouterr().out


def test_no_notebooks_yet_is_said_and_no_failure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(execute, "NOTEBOOKS", tmp_path)
    assert execute.main([]) == 0
    assert "no notebooks" in capsys.readouterr().out
