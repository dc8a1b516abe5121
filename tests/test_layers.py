"""What may import what. Imports within functions count like those at the top of a file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "dpo_notes"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = [
    "maths",
    "worlds",
    "language",
    "training",
    "teaching",
    "commands",
    "cli",
    "__main__",
]  # each uses those before it
FIRST_ROOM = dict.fromkeys(("transformers", "tokenizers", "safetensors", "accelerate", "datasets"), "language")
FIRST_ROOM |= {"huggingface_hub": "language", "torch": "maths"}
TEACHING_ONLY = {"matplotlib", "ipywidgets"}
LOOPS = {"pretrain", "sft", "reward_model", "reinforce", "ppo", "dpo"}
ABOVE_LOOPS = {"frontier"}  # runs them all
PICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve"}
PICKLING_CALLS = {"torch.load", "torch.save", "pandas.read_pickle"}
RUNS_FOREIGN_CODE = {"trust_remote_code", "allow_pickle"}  # keywords that may only be given as False
DUMPING_GROUNDS = {"utils.py", "helpers.py", "misc.py"}


def names_in(tree: ast.AST) -> list[str]:
    """Every module or name that a file imports, in full: `from torch import load` is "torch.load"."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names += [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return names


def room_of(path: str) -> str:
    return path.split("/")[0].removesuffix(".py")


def forbidden_imports(path: str, name: str) -> list[str]:
    """What is wrong when the file at `path` (below dpo_notes) imports `name`."""
    room, top, inner = room_of(path), *(name.split(".") + [""])[:2]
    loop = path.removeprefix("training/").removesuffix(".py")
    found = []
    if top == "dpo_notes" and inner in ROOMS and (room not in ROOMS or ROOMS.index(inner) > ROOMS.index(room)):
        found.append(f"{room} imports {name}: imports point down only")
    if (
        room == "training"
        and loop in LOOPS
        and name.startswith("dpo_notes.training.")
        and name.split(".")[2] in (LOOPS | ABOVE_LOOPS) - {loop}
    ):
        found.append(f"imports {name}: training loops never import each other")
    if top in FIRST_ROOM and (room not in ROOMS or ROOMS.index(room) < ROOMS.index(FIRST_ROOM[top])):
        found.append(f"{room} imports {name}: {top} may appear from {FIRST_ROOM[top]} up")
    if top in TEACHING_ONLY and room != "teaching":
        found.append(f"{room} imports {name}: only teaching may")
    if top in PICKLERS or name in PICKLING_CALLS:
        found.append(f"imports {name}: files are safetensors or JSON, never pickle")
    return found


def violations(path: str, source: str) -> list[str]:
    """Every breach of the layering in one file, given as its path below dpo_notes and its text."""
    tree = ast.parse(source)
    found = [problem for name in names_in(tree) for problem in forbidden_imports(path, name)]
    if path.split("/")[-1] in DUMPING_GROUNDS:
        found.append("a file is named after the idea that it holds")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append(f"line {node.lineno}: imports are absolute")
        if isinstance(node, ast.Attribute) and ast.unparse(node) in PICKLING_CALLS:
            found.append(f"line {node.lineno}: {ast.unparse(node)} pickles; safetensors does not")
        if isinstance(node, ast.keyword) and node.arg in RUNS_FOREIGN_CODE and ast.unparse(node.value) != "False":
            found.append(f"line {node.value.lineno}: {node.arg} lets a file run code")
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_file_keeps_to_its_layer(file):
    assert violations(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("maths/a.py", "from dpo_notes.worlds.finite import x", "point down"),
        ("maths/a.py", "def f():\n    import dpo_notes.language.load", "point down"),
        ("worlds/a.py", "from dpo_notes import training", "point down"),
        ("teaching/explorers/a.py", "from dpo_notes.cli import main", "point down"),
        ("__init__.py", "from dpo_notes.maths.losses import dpo_loss", "point down"),
        ("__init__.py", "import torch", "from maths up"),
        ("maths/a.py", "import transformers", "from language up"),
        ("worlds/a.py", "def f():\n    from tokenizers import Tokenizer", "from language up"),
        ("worlds/a.py", "import importlib\nimportlib.import_module('datasets')", "from language up"),
        ("training/a.py", "import matplotlib.pyplot as plt", "only teaching"),
        ("commands/a.py", "from ipywidgets import VBox", "only teaching"),
        ("training/dpo.py", "from dpo_notes.training.sft import train_sft", "each other"),
        ("training/reinforce.py", "from dpo_notes.training import dpo", "each other"),
        ("training/dpo.py", "from dpo_notes.training.frontier.run import run_frontier", "each other"),
        ("training/a.py", "import pickle", "never pickle"),
        ("training/a.py", "from torch import load", "never pickle"),
        ("training/a.py", "import torch\ntorch.load('x')", "pickles"),
        ("language/a.py", "f('x', trust_remote_code=True)", "run code"),
        ("language/a.py", "f('x', trust_remote_code=given)", "run code"),
        ("language/a.py", "from . import load", "absolute"),
        ("language/a.py", "from .load import x", "absolute"),
        ("maths/utils.py", "", "named after"),
    ],
)
def test_each_breach_is_named(path, source, problem):
    assert [line for line in violations(path, source) if problem in line]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("maths/losses.py", "import torch\nfrom dpo_notes.maths.bradley_terry import preference_nll"),
        ("language/load.py", "import transformers, safetensors\nfrom dpo_notes.maths.checks import InputError"),
        ("training/dpo.py", "from dpo_notes.training.step import x\nfrom dpo_notes.language.score import y"),
        ("training/frontier/methods.py", "from dpo_notes.training.dpo import x\nfrom dpo_notes.training.sft import y"),
        ("training/checkpoint.py", "f('x', trust_remote_code=False)"),
        ("teaching/explorers/a.py", "import matplotlib, ipywidgets\nfrom dpo_notes.training.dpo import train_dpo"),
        ("commands/train.py", "def run(args):\n    from dpo_notes.teaching.plots import curves"),
        ("cli.py", "import dpo_notes\nfrom dpo_notes.commands import doctor"),
        ("__main__.py", "from dpo_notes.cli import main"),
    ],
)
def test_what_the_layers_allow_is_not_a_breach(path, source):
    assert violations(path, source) == []


@pytest.mark.parametrize("program", ["import dpo_notes", "from dpo_notes import cli; cli.parser()"])
def test_the_package_and_the_help_of_the_command_line_load_nothing_heavy(program):
    """`import dpo_notes` and `dpo-notes --help` are immediate: torch and the like are loaded when a command runs."""
    heavy = TEACHING_ONLY | set(FIRST_ROOM) | {"numpy", "jupyterlab"}
    program += f"; import sys; print(sorted({heavy!r} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
