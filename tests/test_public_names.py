"""The public names: all there, loaded when asked for, typed, and documented."""

import inspect
import subprocess
import sys

import pytest

import dpo_notes


@pytest.mark.parametrize("name", dpo_notes.__all__)
def test_a_public_name_is_the_one_that_lives_in_its_module(name):
    thing = getattr(dpo_notes, name)
    assert getattr(dpo_notes, name) is thing and name in dir(dpo_notes)
    if name != "LOSSES":
        assert inspect.getdoc(thing)
        assert getattr(sys.modules[thing.__module__], name) is thing


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'dpo_notes' has no attribute 'train_kto'"):
        dpo_notes.train_kto  # noqa: B018


def test_they_are_imported_by_name_and_by_star_and_torch_comes_with_the_first_of_them():
    program = (
        "import sys, dpo_notes; before = 'torch' in sys.modules; from dpo_notes import *; from dpo_notes import sample"
    )
    program += "; print(before, 'torch' in sys.modules, train_dpo.__name__, sample.__name__)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "True", "train_dpo", "sample"]
