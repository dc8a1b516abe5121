"""dpo-notes lab hands its words to JupyterLab."""

import argparse

import pytest

from dpo_notes.commands import lab
from dpo_notes.maths.errors import InputError


@pytest.mark.parametrize("words", [[], ["--no-browser", "--port", "9000"], ["--ip=0.0.0.0"], ["--help"], ["-y"]])
def test_every_word_that_follows_reaches_jupyterlab_after_the_folder(monkeypatch, tmp_path, words):
    started = []
    monkeypatch.setattr(lab, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr("jupyterlab.labapp.main", started.append)
    parser = argparse.ArgumentParser()
    lab.add_arguments(parser.add_subparsers().add_parser("lab"))
    assert lab.run(parser.parse_args(["lab", *words])) == 0
    assert started == [[str(tmp_path), *words]]


def test_a_package_without_notebooks_asks_for_a_clone(monkeypatch, tmp_path):
    monkeypatch.setattr(lab, "NOTEBOOKS", tmp_path / "notebooks")
    with pytest.raises(InputError, match="expected a clone"):
        lab.run(argparse.Namespace(arguments=[]))
