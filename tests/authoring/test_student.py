"""The student copy holds everything needed to start, and nothing that gives an answer away."""

import json
import re
from pathlib import Path

import nbformat
import pytest
import student
from notebook_page import Page, checks, printed, tags

from dpo_notes.cli import parser
from dpo_notes.places import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
TEXT = {".ipynb", ".md", ".py", ".txt", ".toml", ".yml", ".json", ".jsonl", ""}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "copy"
    assert student.main([str(folder)]) == 0
    return folder


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


@pytest.fixture(scope="module")
def everything(copy) -> str:
    """All text of the copy, notebooks with their outputs as they are read, on one line."""
    texts = []
    for path in sorted(path for path in copy.rglob("*") if path.is_file() and path.suffix in TEXT):
        text = path.read_text(encoding="utf-8")
        texts.append(" ".join(strings(json.loads(text))) if path.suffix == ".ipynb" else text)
    return flat(" ".join(texts))


def strings(data: object) -> list[str]:
    """Every string within a JSON value; a list of lines is one string."""
    if isinstance(data, list) and all(isinstance(item, str) for item in data):
        return ["".join(data)]
    if isinstance(data, dict | list):
        return [text for item in (data.values() if isinstance(data, dict) else data) for text in strings(item)]
    return [data] if isinstance(data, str) else []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_solution_and_no_hint_stands_anywhere_in_the_copy(everything, path):
    """Neither the code nor the words of a solution, nor a hint's; the package's checkers are another matter."""
    solution = Page(path.parent / "solutions" / path.name)
    for cell in solution.cells:
        if "check(" in cell.source or (cell.cell_type == "markdown" and cell.id != "title"):
            assert flat(cell.source) not in everything, cell.id
            long = [line for line in cell.source.splitlines() if len(line) > 100]
            assert not [line for line in long if flat(line) in everything], cell.id
    for cell in Page(path).cells:
        if "hint" in tags(cell):
            (words,) = re.findall(r"</summary>\n\n(.*?)\n\n</details>", cell.source, re.DOTALL)
            assert flat(words) not in everything, cell.id


def test_no_file_and_no_link_leads_to_a_solution(copy, everything):
    assert "git clone" not in everything and '"git", "clone"' not in everything
    assert "solutions/" not in everything and "<summary>Hint" not in everything
    assert not [path for path in copy.rglob("*") if "solution" in path.name]
    assert not (copy / "notebooks" / "TEACHING.md").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_notebooks_are_those_of_the_series_without_the_hints(copy, path):
    ours, theirs = Page(path), Page(copy / "notebooks" / path.name)
    nbformat.validate(nbformat.read(theirs.path, as_version=4))
    assert [cell.id for cell in theirs.cells] == [c.id for c in ours.cells if "hint" not in tags(c) and c.id != "colab"]
    assert list(checks(theirs)) == list(checks(ours))
    for number, cell in checks(theirs).items():
        assert f"{number}: not tried yet" in printed(cell)


def test_every_link_of_its_notebooks_and_of_the_guide_leads_somewhere(copy):
    for file in (copy / "README.md", ROOT / "notebooks" / "TEACHING.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text(encoding="utf-8")):
            assert target.startswith(("https://", "#")) or (file.parent / target.split("#")[0]).exists(), target
    for path in sorted((copy / "notebooks").glob("*.ipynb")):
        for cell in Page(path).markdown:
            for target in re.findall(r"\]\(([^)\s]+)\)", cell.source):
                if target.endswith((".ipynb", ".md")) and not target.startswith("http"):
                    assert (copy / "notebooks" / target).exists(), target


def test_all_that_the_package_needs_is_in_it(copy):
    for name in ("dpo_notes", "data"):
        ours = {p.relative_to(ROOT) for p in (ROOT / name).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
        assert ours == {path.relative_to(copy) for path in (copy / name).rglob("*") if path.is_file()}
    assert all((copy / name).exists() for name in student.COPIED)


def test_a_copy_is_made_anew_and_a_foreign_folder_is_left_alone(copy, tmp_path, capsys):
    assert student.main([str(copy)]) == 0
    (tmp_path / "thesis.txt").touch()
    assert student.main([str(tmp_path)]) == 2
    assert "holds thesis.txt, and nothing says that dpo-notes made it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_every_command_of_the_guide_parses():
    text = (ROOT / "notebooks" / "TEACHING.md").read_text(encoding="utf-8")
    commands = re.findall(r"^dpo-notes (.+)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        parser().parse_args(command.split())
