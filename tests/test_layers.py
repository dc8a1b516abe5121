"""What may import what. Imports within functions count like those at the top of a file."""

import ast
import subprocess
import sys

import pytest

from dpo_notes.places import PACKAGE

SOURCES = sorted(PACKAGE.rglob("*.py"))
ROOMS = ["places", "maths", "worlds", "pairs", "language", "training", "experiments"]  # each uses those before it
ROOMS += ["plots", "teaching", "lessons", "grading", "commands", "cli", "__main__"]
FIRST_ROOM = dict.fromkeys(("transformers", "tokenizers", "safetensors", "accelerate", "datasets"), "pairs")
FIRST_ROOM |= {"huggingface_hub": "pairs", "torch": "maths"}
DRAWING = {"matplotlib": ("plots", "teaching", "lessons"), "ipywidgets": ("teaching", "lessons")}
LOOPS = {"pretrain", "sft", "reward_model", "reinforce", "ppo", "dpo"}
DUMPING_GROUNDS = {"utils.py", "helpers.py", "misc.py"}


def names_in(tree: ast.AST) -> list[str]:
    """Every module or name that a file imports, in full: `from torch import load` is "torch.load".

    What is imported for type checkers alone counts for nothing: it never is imported.
    """
    types = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    unseen = {id(inner) for node in types for inner in ast.walk(node)}
    names = []
    for node in (node for node in ast.walk(tree) if id(node) not in unseen):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names += [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
    return names


def may_use(room: str, other: str) -> bool:
    """Whether files of a room may import those of another."""
    if room == "plots":
        return other in ("plots", "maths")
    if room in ("pairs", "language", "training") and other == "worlds":
        return False  # a trained model is judged by whoever knows its world
    return room in ROOMS and ROOMS.index(other) <= ROOMS.index(room)


def forbidden_imports(path: str, name: str) -> list[str]:
    """What is wrong when the file at `path` (below dpo_notes) imports `name`."""
    (room, place, *_), (top, inner, other, *_) = [*path.removesuffix(".py").split("/"), ""], [*name.split("."), "", ""]
    found = []
    if top == "dpo_notes" and inner in ROOMS and not may_use(room, inner):
        found.append(f"{room} imports {name}: imports point down only")
    if top == "dpo_notes" and room == inner == "training" and {place, other} <= LOOPS and place != other:
        found.append(f"imports {name}: training loops never import each other")
    if top == "dpo_notes" and room == inner == "lessons" and place != other:
        found.append(f"imports {name}: lessons never import each other")
    if top in FIRST_ROOM and (room not in ROOMS or ROOMS.index(room) < ROOMS.index(FIRST_ROOM[top])):
        found.append(f"{room} imports {name}: {top} may appear from {FIRST_ROOM[top]} up")
    if room not in DRAWING.get(top, [room]):
        found.append(f"{room} imports {name}: only {' and '.join(DRAWING[top])} may")
    return found


def violations(path: str, source: str) -> list[str]:
    """Every breach of the layering in one file, given as its path below dpo_notes and its text."""
    tree = ast.parse(source)
    found = [problem for name in names_in(tree) for problem in forbidden_imports(path, name)]
    if path.split("/")[-1] in DUMPING_GROUNDS:
        found.append("a file is named after the idea that it holds")
    relative = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    return found + [f"line {node.lineno}: imports are absolute" for node in relative]


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Files that import each other in a circle, the first again at the end; none where there is no circle."""
    done: set[str] = set()

    def visit(file: str, way: list[str]) -> list[str]:
        if file in way:
            return [*way[way.index(file) :], file]
        if file not in done:
            done.add(file)
            return next(filter(None, (visit(other, [*way, file]) for other in sorted(imports.get(file, ())))), [])
        return []

    return next(filter(None, (visit(file, []) for file in sorted(imports))), [])


def test_no_files_import_each_other_in_a_circle():
    modules = {file: ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts) for file in SOURCES}
    names = {modules[file]: names_in(ast.parse(file.read_text(encoding="utf-8"))) for file in SOURCES}
    imports = {  # a module, or a name in a module
        module: {part for name in found for part in (name, name.rpartition(".")[0]) if part in names}
        for module, found in names.items()
    }
    assert sum(map(len, imports.values())) > len(imports)
    assert circle(imports) == []


def test_a_circle_is_found_however_long():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"d", "b"}, "d": set()}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}) == []


def test_the_kit_is_small_and_prints_how_small(capsys):
    lines = sum(file.read_text(encoding="utf-8").count("\n") for file in PACKAGE.glob("teaching/**/*.py"))
    with capsys.disabled():
        print(f"teaching/: {lines} lines", end=" ")
    assert lines < 1400


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_a_file_keeps_to_its_layer(file):
    assert violations(file.relative_to(PACKAGE).as_posix(), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("path", "source", "problem"),
    [
        ("maths/a.py", "from dpo_notes.worlds.finite.world import x", "point down"),
        ("maths/a.py", "def f():\n    import dpo_notes.language.load", "point down"),
        ("worlds/a.py", "from dpo_notes import training", "point down"),
        ("training/a.py", "from dpo_notes.worlds.reviews import world", "point down"),
        ("plots/a.py", "from dpo_notes.training.config import DPOConfig", "point down"),
        ("teaching/a.py", "from dpo_notes.cli import main", "point down"),
        ("teaching/a.py", "from dpo_notes.lessons.did_it_work.pictures import x", "point down"),
        ("__init__.py", "from dpo_notes.maths.losses import dpo_loss", "point down"),
        ("__init__.py", "import torch", "from maths up"),
        ("maths/a.py", "import transformers", "from pairs up"),
        ("worlds/a.py", "def f():\n    from tokenizers import Tokenizer", "from pairs up"),
        ("worlds/a.py", "import importlib\nimportlib.import_module('datasets')", "from pairs up"),
        ("training/a.py", "import matplotlib.pyplot as plt", "only plots"),
        ("plots/a.py", "from ipywidgets import VBox", "only teaching"),
        ("commands/a.py", "from ipywidgets import VBox", "only teaching"),
        ("training/dpo.py", "from dpo_notes.training.sft import train_sft", "loops never"),
        ("training/reinforce.py", "from dpo_notes.training import dpo", "loops never"),
        ("lessons/a/explorers.py", "from dpo_notes.lessons.b.pictures import x", "lessons never"),
        ("lessons/a/explorers.py", "from dpo_notes.lessons import b", "lessons never"),
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
        ("pairs/encode.py", "import transformers\nfrom dpo_notes.maths.checks import InputError"),
        ("language/load.py", "import transformers, safetensors\nfrom dpo_notes.pairs.hub import x"),
        ("training/dpo.py", "from dpo_notes.training.step import x\nfrom dpo_notes.language.score import y"),
        ("experiments/a.py", "from dpo_notes.training.dpo import x\nfrom dpo_notes.worlds.reviews import world"),
        ("plots/a.py", "import matplotlib\nfrom dpo_notes.maths.calibration import Reliability"),
        ("lessons/a/explorers.py", "import matplotlib, ipywidgets\nfrom dpo_notes.lessons.a.pictures import x"),
        ("commands/train.py", "def run(args):\n    from dpo_notes.plots.runs import curves"),
        ("cli.py", "import dpo_notes\nfrom dpo_notes.commands import doctor"),
        ("__init__.py", "if TYPE_CHECKING:\n    from dpo_notes.maths.losses import dpo_loss"),
        ("__main__.py", "from dpo_notes.cli import main"),
    ],
)
def test_what_the_layers_allow_is_not_a_breach(path, source):
    assert violations(path, source) == []


@pytest.mark.parametrize("program", ["import dpo_notes", "from dpo_notes import cli; cli.parser()"])
def test_the_package_and_the_help_of_the_command_line_load_nothing_heavy(program):
    """`import dpo_notes` and `dpo-notes --help` are immediate: torch and the like are loaded when a command runs."""
    heavy = {*DRAWING, *FIRST_ROOM} | {"numpy", "jupyterlab"}
    program += f"; import sys; print(sorted({heavy!r} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
