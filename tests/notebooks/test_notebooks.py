"""Every notebook keeps the rules of the series, and runs from the top without network to what was committed."""

import os
import re
import time
import warnings
from pathlib import Path

import nbformat
import notebook_rules
import pytest
from execute import execute, settle
from nbformat.v4 import new_code_cell, new_notebook
from notebook_page import printed

from dpo_notes.places import NOTEBOOKS, ROOT

OFFLINE = ROOT / "authoring" / "offline"
PATHS = sorted([*NOTEBOOKS.glob("[0-9]*.ipynb"), *NOTEBOOKS.glob("solutions/[0-9]*.ipynb")])
SECONDS = 180  # on two cores
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
each_notebook = pytest.mark.parametrize(
    "path", PATHS, ids=lambda path: path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
)


@each_notebook
def test_a_notebook_keeps_every_rule(path):
    """`python authoring/notebook_rules.py` shows the complaints."""
    assert notebook_rules.complaints(path) == []


@pytest.fixture
def offline(monkeypatch):
    """Processes started now reach loopback only, not even a proxy."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(OFFLINE), os.environ.get("PYTHONPATH", "")]))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")


@pytest.mark.notebooks
@each_notebook
def test_it_runs_from_the_top_offline_in_three_minutes_to_what_was_committed(path, offline, capsys):
    """On a busy machine the limit is on processor seconds: the lesser of these and wall-clock seconds counts."""
    committed = nbformat.read(path, as_version=4)
    notebook, files = nbformat.read(path, as_version=4), files_of(path.parent)
    wall, processor = time.monotonic(), child_seconds()
    execute(notebook, path.parent)
    wall, processor = time.monotonic() - wall, child_seconds() - processor
    settle(notebook)
    with capsys.disabled():
        print(f"\n{path.relative_to(NOTEBOOKS)}: {wall:.0f} s, {processor:.0f} s of processors", end=" ")
    assert [outline(cell) for cell in notebook.cells] == [outline(cell) for cell in committed.cells]
    assert [verdicts(cell) for cell in notebook.cells] == [verdicts(cell) for cell in committed.cells]
    assert files_of(path.parent) == files, "executing it leaves a file behind"
    assert min(wall, processor) <= SECONDS
    for now, before in zip(notebook.cells, committed.cells, strict=True):
        if not alike(
            shown(now), shown(before)
        ):  # expected on another machine, where rounding may change a sampled word
            warnings.warn(f"{path.name}, cell {now.id}: other words or numbers than committed", stacklevel=1)


def outline(cell) -> tuple:
    """Its id, its execution count, and the kinds of its outputs."""
    outputs = cell.get("outputs", [])
    kinds = [(output.output_type, output.get("name"), sorted(output.get("data", {}))) for output in outputs]
    return cell.id, cell.get("execution_count"), kinds


def verdicts(cell) -> list[str]:
    """The lines of verify (without the size of the difference) and of check."""
    lines = shown(cell).splitlines()
    verified = [line.split(" (largest difference")[0] for line in lines if line.startswith("✓")]
    return verified + [line for line in lines if re.match(r"\d\d\.\d+: ", line)]


def shown(cell) -> str:
    return printed(cell) if cell.cell_type == "code" else ""


def alike(left: str, right: str) -> bool:
    """Whether two texts have the same words, and the same numbers to one part in a thousand."""
    if NUMBER.split(left) != NUMBER.split(right):
        return False
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (left, right)]
    return all(abs(a - b) <= 1e-3 * max(1, abs(a)) for a, b in zip(*numbers, strict=True))


def child_seconds() -> float:
    """Processor seconds of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def files_of(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if ".ipynb_checkpoints" not in path.parts}


ATTEMPTS = {
    "an address": "socket.create_connection(('192.0.2.1', 80), timeout=1)",
    "a name": "socket.getaddrinfo('example.com', 443)",
    "connect_ex": "socket.socket().connect_ex(('192.0.2.1', 80))",
    "a datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    "the hub's client": "import httpx; httpx.get('http://192.0.2.1', trust_env=False)",
    "a child process": "raise PermissionError(subprocess.run([sys.executable, '-c', \"import socket; socket.create_connection(('192.0.2.1', 80))\"], capture_output=True, text=True).stderr)",
}  # fmt: skip


@pytest.mark.notebooks
def test_connections_beyond_loopback_are_refused_and_those_within_are_not(offline, tmp_path):
    """Tried in a kernel that is started like the notebooks'."""
    trials = [f"try:\n    {code}\nexcept Exception as error:\n    print(error)" for code in ATTEMPTS.values()]
    within = "server = socket.create_server(('127.0.0.1', 0))\nsocket.create_connection(server.getsockname()).close()\nprint('ok')"
    proxy = "try:\n    urllib.request.urlopen('http://192.0.2.1')\nexcept Exception as error:\n    print(error)"
    cells = ["import socket, subprocess, sys, urllib.request", *trials, within, proxy]
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    execute(notebook, tmp_path)
    said = [cell.outputs[0].text for cell in notebook.cells[1:]]
    for attempt, words in zip(ATTEMPTS, said[:-2], strict=True):
        assert "no network in tests" in words, attempt
    assert said[-2] == "ok\n"
    assert "Connection refused" in said[-1]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("loss 0.6931 after 10 steps", "loss 0.6932 after 10 steps", True),
        ("loss 0.6931", "loss 0.7031", False),
        ("loss 0.6931", "gain 0.6931", False),
        ("1.0", "1.0 2.0", False),
        ("difference 1.2e-16", "difference 0.0e+00", True),
    ],
)
def test_texts_are_compared_up_to_the_noise_of_floating_point(left, right, same):
    assert alike(left, right) is same
