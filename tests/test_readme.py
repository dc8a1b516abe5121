"""The README says what is so: its names exist, its commands parse, its code runs."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from notebook_page import Page

from dpo_notes.cli import main, parser
from dpo_notes.places import NOTEBOOKS, ROOT
from dpo_notes.training.preference_loss import LOSSES

README = (ROOT / "README.md").read_text(encoding="utf-8")
NOTEBOOKS_IN_ORDER = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
TEACHING = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
NUMBER_WORDS = dict(enumerate(("Ten", "Eleven", "Twelve", "Thirteen", "Fourteen", "Fifteen", "Sixteen", "Seventeen",
                               "Eighteen", "Nineteen", "Twenty"), start=10))  # fmt: skip


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


def test_the_losses_of_the_readme_exist_and_its_word_lists_them_all(capsys):
    (row,) = re.findall(r"^\| `--loss` \| (.*) \|$", README, re.MULTILINE)
    *names, asking = re.findall(r"`([^`]+)`", row)
    assert names and set(names) <= set(LOSSES)
    option, word = asking.split()
    assert word not in LOSSES, f"`{asking}` would train: the last words of this row are answered with all the names"
    assert main(["train", option, word]) != 0
    assert capsys.readouterr().err.strip().endswith(f"expected one of {', '.join(LOSSES)}")


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


def lists_of_the_series() -> dict[str, tuple[list[str], list[str]]]:
    """For each place that lists the notebooks: which ones it has, and which ones it should have."""
    names = [notebook.stem for notebook in NOTEBOOKS_IN_ORDER]
    numbers = [name[:2] for name in names]
    weeks = re.search(r"^## Six weeks$(.*?)^## ", TEACHING, re.MULTILINE | re.DOTALL)[1]
    (chart,) = (
        cell.source for cell in Page(NOTEBOOKS_IN_ORDER[0]).cells if cell.source.startswith("### Map of the series")
    )
    return {
        "README's table": (re.findall(r"^\| \d\d \| \[.*\]\(notebooks/(.*)\.ipynb\) \|", README, re.MULTILINE), names),
        "the map of notebook 00": (re.findall(r"^\| \d\d \| \[.*?\]\((.*?)\.ipynb\) \|", chart, re.MULTILINE), names[1:]),
        "TEACHING's table of minutes": (sorted(re.findall(r"\| (\d\d) [^|]+\| \d+ \| \d+ (?=\|)", TEACHING)), numbers),
        "TEACHING's six weeks": (re.findall(r"\d\d", " ".join(re.findall(r"^\| \d \| ([\d, ]+) \|", weeks, re.MULTILINE))), numbers),
        "TEACHING's plan (**NN Title**)": (re.findall(r"^\*\*(\d\d) ", TEACHING, re.MULTILINE), numbers),
    }  # fmt: skip


def test_the_series_is_told_as_it_stands_in_the_folder():
    """In README, in TEACHING, on the map of notebook 00, and at the end of each notebook the next one."""
    wrong = []
    for place, (listed, wanted) in lists_of_the_series().items():
        wrong += [f"{place} lacks {name}" for name in wanted if name not in listed]
        wrong += [f"{place} has {name}, which is no notebook" for name in listed if name not in wanted]
        if sorted(listed) == sorted(wanted) != listed:
            wrong += [f"{place} has another order than the notebooks"]
    count = NUMBER_WORDS.get(len(NOTEBOOKS_IN_ORDER), str(len(NOTEBOOKS_IN_ORDER)))
    if f"\n{count} notebooks" not in TEACHING:
        wrong += [f"TEACHING does not begin with '{count} notebooks'"]
    for notebook, following in pairwise(NOTEBOOKS_IN_ORDER):
        ends = [cell.source for cell in Page(notebook).cells if cell.source.startswith("## Next")]
        if f"]({following.name})" not in "".join(ends):
            wrong += [f"the Next of {notebook.stem} lacks {following.name}"]
    assert not wrong, "\n" + "\n".join(wrong)


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
