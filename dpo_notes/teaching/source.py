"""The package's own code, shown in the notebook that explains it, so that no copy can go out of date."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

from dpo_notes.places import ROOT


class Source:
    """Python code as a block in the colours of the page that shows it, dark or light."""

    def __init__(self, code: str):
        self.code = code

    def _repr_mimebundle_(self, **kwargs):
        return {"text/markdown": f"````python\n{self.code.rstrip()}\n````", "text/plain": self.code}


def show_source(thing: Callable | type) -> Source:
    """The code of a function or class, with its file and line and without its docstring, which `help` shows."""
    thing = inspect.unwrap(thing)
    file = Path(inspect.getsourcefile(thing)).resolve()
    lines, first = inspect.getsourcelines(thing)
    if inspect.isclass(thing):  # from Python 3.13 on, inspect leaves a class's decorators out
        text = file.read_text(encoding="utf-8")
        (node,) = (node for node in ast.parse(text).body if getattr(node, "name", None) == thing.__name__)
        first = min(part.lineno for part in (node, *node.decorator_list))
        lines = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
    source = textwrap.dedent("".join(lines))
    return Source(f"# {file.relative_to(ROOT).as_posix()}, from line {first}\n{without_docstring(source)}")


def without_docstring(source: str) -> str:
    """The source of one definition without its docstring."""
    definition = ast.parse(source).body[0]
    if ast.get_docstring(definition) is None or len(definition.body) == 1:  # nothing but the docstring
        return source
    docstring, lines = definition.body[0], source.splitlines(keepends=True)
    del lines[docstring.lineno - 1 : docstring.end_lineno]
    if not lines[docstring.lineno - 1].strip():  # the empty line after it
        del lines[docstring.lineno - 1]
    return "".join(lines)
