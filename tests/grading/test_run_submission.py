"""What a returned notebook takes is bounded, and nothing of it is left when it has ended."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest
from papers import notebook
from sandboxed import START, run

from dpo_notes.grading import sandbox

pytestmark = [pytest.mark.notebooks, pytest.mark.usefixtures("bubblewrap")]
pytest_plugins = ["sandbox_fixtures"]

NAME = "libc.prctl(15, {!r}.encode())\n"  # gives the process a name that is visible outside
THREADS = (
    "import threading, time\nthreading.stack_size(2**16)\n"
    "for _ in range(2000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\ntime.sleep(60)"
)

TAKES = {
    "memory in one process": ("x = bytearray(1_500_000_000)", "MemoryError"),
    "memory that it could share": (
        "import mmap\nkept = []\nfor _ in range(20):\n    kept.append(mmap.mmap(-1, 2**28))\n    kept[-1].madvise(4)",
        "OSError",
    ),
    "one file": ("file = open('x', 'wb')\nwhile True: file.write(bytes(2**20))", "File too large"),
    "open files": ("kept = []\nwhile True: kept.append(open('/dev/null'))", "Too many open files"),
    "many files": ("for k in range(9): open(str(k), 'wb').write(bytes(50_000_000))", "No space left"),
    "shared memory": ("for k in range(9): open(f'/dev/shm/{k}', 'wb').write(bytes(20_000_000))", "No space left"),
    "threads": (THREADS, "stopped: more threads"),
    "threads of a process with a misleading name": (
        f"libc.prctl(15, b'Threads:\\t1')\n{THREADS}",
        "stopped: more threads",
    ),
    "time": ("while True: pass", "stopped: out of time"),
    "time in native code": (
        "import time\nimport torch\nwhile True: torch.ones(500, 500) @ torch.ones(500, 500)",
        "stopped: out of time",
    ),
}


@pytest.mark.parametrize("name", TAKES)
def test_what_it_takes_is_bounded_for_all_its_processes(name):
    cell, words = TAKES[name]
    start = time.monotonic()
    said = run(cell, seconds=8)
    assert words in "; ".join([said.stopped, *said.errors])
    assert time.monotonic() - start < 60


def test_a_limit_that_shrinks_while_it_runs_ends_it():
    """As when the others of its class turn out to need a tenth of the time."""
    start = time.monotonic()
    said = run("while True: pass", seconds=60, patience=lambda: 90 if time.monotonic() - start < 8 else 3)
    assert said.stopped == "stopped: out of time after 3 seconds" and time.monotonic() - start < 40


def processes_named(name: str) -> list[psutil.Process]:
    """All processes of that name which have not ended, wherever they belong."""
    found = []
    for process in psutil.process_iter(["name", "status"]):
        if process.info["name"] == name and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def wait_for(condition: Callable[[], object], *, seconds: int = 60) -> object:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def test_no_process_of_it_is_left_when_it_has_ended():
    """A thread goes on when the notebook is over, deaf to every signal that one can be deaf to."""
    name = f"left-{os.getpid()}"
    run(
        NAME.format(name)
        + "import signal, threading, time\n"
        + "for k in set(range(1, 65)) - {9, 19, 32, 33}: tried(signal.signal, k, signal.SIG_IGN)\n"
        + "threading.Thread(target=time.sleep, args=(600,)).start()",
        seconds=5,
    )
    wait_for(lambda: not processes_named(name), seconds=5)


def test_it_ends_with_the_process_that_marks_it_even_by_kill_9(tmp_path):
    name = f"sleep-{os.getpid()}"
    cells = [START, NAME.format(name) + "import time\ntime.sleep(600)\ncheck('00.1', 1)"]
    (tmp_path / "returned").mkdir()
    paper = notebook(*cells)
    (tmp_path / "returned" / "00_start_here.ipynb").write_text(paper, encoding="utf-8")
    here = os.environ | {"PYTHONPATH": str(sandbox.PACKAGE.parent)}
    words = [sys.executable, "-m", "dpo_notes", "grade", "returned", "-o", "grades.csv"]
    grader = subprocess.Popen(words, cwd=tmp_path, env=here)
    wait_for(lambda: processes_named(name))
    grader.kill()
    grader.wait()
    wait_for(lambda: not processes_named(name), seconds=5)
