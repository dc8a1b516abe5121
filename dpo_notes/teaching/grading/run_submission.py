"""One returned notebook is run in a process and a folder of its own, and what it says is read up to a limit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from dpo_notes.teaching.exercises.checking import Exercise
from dpo_notes.teaching.grading import confinement
from dpo_notes.teaching.grading.answers import encode
from dpo_notes.teaching.grading.submissions import Submission

SAID_AT_MOST = 4 * 2**20  # bytes of all that a notebook's process says
STARTING = 120  # seconds that the process gets beforehand, to load torch; then it says its first line
PASSED_ON = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT")  # of the environment, where there may be secrets


@dataclass
class Said:
    """What a notebook's process said.

    answers: the last report on each exercise, not judged. errors: what its cells raised. finished: whether it reached its
    end. stopped: why it was ended from outside; empty where it was not.
    """

    answers: dict[str, object] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    finished: bool = False
    stopped: str = ""


def run_submission(
    submission: Submission, exercises: tuple[Exercise, ...], *, seconds: int, memory: int, threads: int
) -> Said:
    """Run all cells of a submission, for at most `seconds`, with at most `memory` bytes and in so many `threads`.

    Returns, whatever the submission does.
    """
    task = {
        "cells": submission.cells,
        "cases": {exercise.number: encode(exercise.cases) for exercise in exercises if exercise.cases},
        "seconds": seconds,
        "memory": memory,
    }
    with tempfile.TemporaryDirectory(prefix="dpo-notes-", ignore_cleanup_errors=True) as folder:
        private = Path(folder).resolve()
        file = private / "task.json"
        file.write_text(json.dumps(task), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "dpo_notes.teaching.grading.notebook_process", str(file)]
        process = subprocess.Popen(
            [*confinement.prefix(), *command],
            stdin=subprocess.PIPE,  # nothing comes through it: it closes when this process ends
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=private,
            env=_environment(private) | {"OMP_NUM_THREADS": str(threads)},
            start_new_session=True,
        )
        try:
            text, stopped = _listen(process, seconds=seconds)
        finally:
            _end(process)
    return _understood(text, stopped)


def _environment(private: Path) -> dict[str, str]:
    import matplotlib

    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own = {
        name: str(private) for name in ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR")
    }
    fonts = max(Path(matplotlib.get_cachedir()).glob("fontlist-*.json"), default=None)
    if fonts is not None:  # or Matplotlib would look for all fonts anew, for every notebook
        (private / fonts.name).write_bytes(fonts.read_bytes())
    own.update(MPLBACKEND="agg", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", PYTHONDONTWRITEBYTECODE="1")
    return kept | own | {"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8"}


def _listen(process: subprocess.Popen, *, seconds: int) -> tuple[bytes, str]:
    """What the process says until it ends, and why it has to be ended: it goes on too long, or it says too much."""
    said = bytearray()

    def read() -> None:
        while len(said) <= SAID_AT_MOST and (piece := os.read(process.stdout.fileno(), 1 << 16)):
            said.extend(piece)

    reader = Thread(target=read, daemon=True)  # a thread, because Windows cannot wait for a pipe and a clock at once
    reader.start()
    ready, end = False, time.monotonic() + STARTING
    while process.poll() is None and time.monotonic() < end and len(said) <= SAID_AT_MOST:
        if said and not ready:
            ready, end = True, time.monotonic() + seconds
        time.sleep(0.05)
    stopped = ""
    if len(said) > SAID_AT_MOST:
        stopped = "stopped: its answers are larger than any that is asked for"
    elif process.poll() is None:
        stopped = "stopped: out of time"
    _end(process)
    reader.join(timeout=2)  # no longer: another process may hold the pipe open
    return bytes(said), stopped


def _end(process: subprocess.Popen) -> None:
    """End the process and its group; with namespaces of its own, every process that it started too."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass  # there is none left
    process.wait()


def _understood(text: bytes, stopped: str) -> Said:
    said = Said(stopped=stopped)
    for line in text.decode("utf-8", errors="replace").splitlines():
        try:
            words = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a line that was cut off, or is none of ours
        if not isinstance(words, dict):
            continue
        if isinstance(words.get("number"), str):
            said.answers[words["number"]] = words.get("answer")
        elif isinstance(words.get("error"), str):
            said.errors.append(f"cell {str(words.get('cell'))[:40]} raises {words['error'][:200]}")
        elif words.get("finished") is True:
            said.finished = True
    return said
