"""The README says what is so: its names exist, its commands parse, its code runs."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from notebook_page import Page

from dpo_notes.cli import parser
from dpo_notes.places import NOTEBOOKS, ROOT
from dpo_notes.training.preference_loss import LOSSES

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "data/README.md", "notebooks/README.md"])
def test_every_link_and_picture_within_the_repository_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith("https://"):
            assert ((ROOT / page).parent / target.split("#")[0]).exists(), target


def test_every_command_of_the_readme_parses():
    commands = re.findall(r"^dpo-notes (.+)$", README, re.MULTILINE)
    assert commands
    for command in commands:
        parser().parse_args(command.split())


def test_the_readme_names_every_loss_and_no_other():
    (row,) = re.findall(r"^\| `--loss` \| (.*) \|$", README, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", row)) == set(LOSSES)


def test_the_map_names_every_room_and_no_other():
    """Every folder of the repository and of the package, and of the package's rooms the worlds."""
    (tree,) = re.findall(r"```\n(run\.py .*?)```", README, re.DOTALL)
    drawn, above = set(), []
    for line in tree.splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 2, line.split()[0].rstrip("/")
        above[depth:] = [name]
        drawn.add("/".join(above))
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {path.rpartition("/")[0] for path in tracked if not path.startswith(".")}
    rooms = {"/".join(folder.split("/")[:2]) for folder in folders if folder.startswith("dpo_notes/")}
    rooms |= {folder for folder in folders if folder.startswith("dpo_notes/worlds/")}
    assert drawn == {"run.py", *(folder.split("/")[0] for folder in folders if folder), *rooms}


def test_the_series_is_told_as_it_stands_in_the_folder():
    """In README's table, in TEACHING's first words and its plan for each, and at the end of each notebook the next one."""
    notebooks = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    names = [notebook.name for notebook in notebooks]
    assert re.findall(r"^\| \d\d \| \[.*\]\(notebooks/(.*\.ipynb)\) \|", README, re.MULTILINE) == names
    teaching = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
    assert f"{ {13: 'Thirteen', 14: 'Fourteen'}[len(names)] } notebooks" in teaching
    assert re.findall(r"^\*\*(\d\d) ", teaching, re.MULTILINE) == [name[:2] for name in names]
    for notebook, following in pairwise(notebooks):
        (end,) = (cell.source for cell in Page(notebook).cells if cell.source.startswith("## Next"))
        assert f"]({following.name})" in end, notebook.name


def test_the_python_example_trains(tmp_path, monkeypatch, new_tiny_model, tiny_tokenizer):
    """With the model and the file that it names standing in the working directory."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    new_tiny_model().save_pretrained("gpt2")
    tiny_tokenizer.save_pretrained("gpt2")
    rows = [f'{{"prompt": "Say {n}.", "chosen": " {n}, sir.", "rejected": " {n}"}}\n' for n in range(12)]
    Path("my_pairs.jsonl").write_text("".join(rows), encoding="utf-8")
    printed = []
    exec(compile(code, "README.md", "exec"), {"print": lambda *words: printed.append(words)})  # noqa: S102
    assert printed[0][:2] == pytest.approx((1, 0.693147), abs=1e-6)
    assert len(printed) == 2
