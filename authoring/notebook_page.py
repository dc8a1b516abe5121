"""A saved notebook: its cells, their syntax trees, and which cells need which. Nothing is executed."""

import ast
import re
from functools import cached_property
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode, reader


class Page:
    """A notebook with its number and the syntax trees of its code."""

    def __init__(self, path: Path):
        self.path = path
        self.number, _, self.stem = path.stem.partition("_")
        self.notebook = reader.reads(path.read_text(encoding="utf-8"))  # changes no ids, unlike nbformat.read
        self.cells = self.notebook.cells
        self.code = [cell for cell in self.cells if cell.cell_type == "code"]
        self.markdown = [cell for cell in self.cells if cell.cell_type == "markdown"]

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """The syntax tree of each code cell by its id, with IPython's magics translated."""
        translate = TransformerManager().transform_cell
        return {cell.id: ast.parse(translate(cell.source)) for cell in self.code}

    def calls(self, name: str) -> list[tuple[NotebookNode, ast.Call]]:
        """Every call of `name(…)` or `….name(…)` with its cell."""
        return [
            (cell, node)
            for cell in self.code
            for node in ast.walk(self.trees[cell.id])
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name
        ]

    @cached_property
    def explorer_cells(self) -> list[NotebookNode]:
        """The cells that make an explorer: a class imported from an explorers.py, or accessed as explorers.Name."""
        imports = [node for tree in self.trees.values() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        found = [(f"{node.module}.{alias.name}".split("."), alias) for node in imports for alias in node.names]
        names = {alias.asname or alias.name for place, alias in found if place[1] == "lessons" and "explorers" in place}
        return [cell for cell in self.code if any(makes(name, self.trees[cell.id]) for name in names)]

    def with_needs(self, wanted: list[NotebookNode]) -> list[NotebookNode]:
        """These code cells, and the cells before them that define the names they use, in order."""
        kept, open_names = [], set()
        for cell in reversed(self.code):
            names = [node for node in ast.walk(self.trees[cell.id]) if isinstance(node, ast.Name)]
            given = bound_names(self.trees[cell.id])
            if cell in wanted or given & open_names:
                kept.append(cell)
                open_names = (open_names - given) | {node.id for node in names if isinstance(node.ctx, ast.Load)}
        return kept[::-1]


def makes(name: str, tree: ast.Module) -> bool:
    """Whether a cell calls Name(…) or name.Name(…), where only a capitalised name is a class."""
    called = [ast.unparse(node.func).split(".") for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(parts[0] == name and len(parts) <= 2 and parts[-1][0].isupper() for parts in called)


def bound_names(tree: ast.Module) -> set[str]:
    """The names that a cell assigns, imports or defines, anywhere in it."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def prose(cell: NotebookNode) -> str:
    """A Markdown cell without code and formulas, where brackets and hashes have other meanings."""
    return re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", "", cell.source, flags=re.DOTALL)


def printed(cell: NotebookNode) -> str:
    """All text in a code cell's outputs, without pictures."""
    texts = [output.get("text", "") for output in cell.outputs]
    for output in cell.outputs:
        texts += [value for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(texts)


def claim_of(call: ast.Call) -> str:
    """The first argument of verify(…): a string, or the constant beginning of an f-string."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.JoinedStr) and first.values:
        first = first.values[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def checks(page: Page) -> dict[str, NotebookNode]:
    """The cells that check an exercise, by its number."""
    named = [(call.args[0], cell) for cell, call in page.calls("check") if call.args]
    return {first.value: cell for first, cell in named if isinstance(first, ast.Constant)}
