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
    lines, first = inspect.getsourcelines(thing)
    source = textwrap.dedent("".join(lines))
    place = Path(inspect.getsourcefile(thing)).resolve().relative_to(ROOT).as_posix()
    return Source(f"# {place}, from line {first}\n{without_docstring(source)}")


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
