"""The README says what is so: its names exist, its commands parse, its code runs."""

import re
from pathlib import Path

import pytest

from dpo_notes.cli import parser
from dpo_notes.places import ROOT
from dpo_notes.training.losses_by_name import LOSSES

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
