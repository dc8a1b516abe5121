"""show_source shows the package's own lines and says where they stand."""

import inspect
from pathlib import Path

import torch

from dpo_notes.maths.bradley_terry import preference_nll
from dpo_notes.teaching import source
from dpo_notes.teaching.source import show_source, without_docstring
from dpo_notes.training.config import DPOConfig

ROOT = Path(source.ROOT)


class Empty:
    """Only words."""


@torch.no_grad()
def decorated():
    """Words.

    More words.
    """

    return "`````"


def test_the_code_is_that_of_the_file_without_the_docstring_and_says_its_line():
    first, *lines = show_source(preference_nll).code.splitlines()
    path, line = first.removeprefix("# ").split(", from line ")
    there = (ROOT / path).read_text(encoding="utf-8").splitlines()[int(line) - 1 :]
    assert there[0].startswith("def preference_nll(")
    assert lines[0] == there[0]
    assert '"""' not in "".join(lines)
    body = [line for line in inspect.getsource(inspect.unwrap(preference_nll)).splitlines() if line.startswith("    ")]
    assert lines[-1] == body[-1]


def test_a_class_and_a_decorated_function_are_shown_whole():
    assert "@dataclass" in show_source(DPOConfig).code
    assert "beta: float" in show_source(DPOConfig).code
    code = show_source(decorated).code
    assert code.startswith("# tests/teaching/test_source.py, from line ")
    assert code.endswith('@torch.no_grad()\ndef decorated():\n    return "`````"\n')


def test_a_definition_without_docstring_or_with_nothing_else_is_left_as_it_is():
    for text in ("def f(x):\n    return x\n", 'class Empty:\n    """Only words."""\n'):
        assert without_docstring(text) == text


def test_only_the_outer_docstring_is_left_out():
    text = 'def f():\n    """Outer."""\n    def g():\n        """Inner."""\n    return g\n'
    assert without_docstring(text) == 'def f():\n    def g():\n        """Inner."""\n    return g\n'


def test_it_is_stored_as_a_block_of_python_and_as_plain_text():
    shown = show_source(preference_nll)._repr_mimebundle_()
    assert shown["text/plain"] == show_source(preference_nll).code
    assert shown["text/markdown"] == f"````python\n{shown['text/plain'].rstrip()}\n````"
