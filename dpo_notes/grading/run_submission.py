"""One returned notebook is run in a sandbox of its own, and what it says is read, as long as it keeps within its limits."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread

import psutil

from dpo_notes.grading import sandbox
from dpo_notes.grading.answers import encode
from dpo_notes.grading.submissions import Submission
from dpo_notes.teaching.checking import Exercise

SAID_AT_MOST = 4 * 2**20  # bytes of all that a notebook's process says
STARTING = 120  # seconds that the process gets beforehand, to load torch
THREADS = 48  # that one notebook may have besides PyTorch's; the solution of 09 has 10 in all
LEAST_FREE = 2**28  # bytes of memory that the machine must keep, whatever took the others
LINES = 10_000  # of all that it says; an answer takes one
FILES, FILE_SIZE = 256, 256 * 2**20  # open files, and bytes of one file
WATCHED_EVERY = 0.02  # seconds
WORDS = ("-m", "dpo_notes.grading.notebook_process")
ENVIRONMENT = {"MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
ENVIRONMENT |= {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait leave the processor to the others
ENVIRONMENT |= {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LANG": "C.UTF-8", "USER": "reader"}
HOMES = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR")
PASSED_ON = ("PATH", "SYSTEMROOT")  # to an unconfined one; of the rest there may be secrets


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


@dataclass(frozen=True)
class Limits:
    """What one notebook gets. seconds: by the clock. memory: bytes in all its processes, beyond those to load the package.

    threads: that PyTorch uses. unconfined: run it without the sandbox.
    """

    seconds: float
    memory: int
    threads: int = 1
    unconfined: bool = False


def run_submission(
    submission: Submission, exercises: Sequence[Exercise], limits: Limits, *, hidden: Sequence[Path] = ()
) -> Said:
    """Run all cells of a submission within the limits. Returns, whatever the submission does.

    hidden: files and folders that it must not see, should they lie among those that it may.
    """
    cases = {exercise.number: encode(exercise.cases) for exercise in exercises if exercise.cases}
    task = json.dumps({"cells": submission.cells, "cases": cases}).encode() + b"\n"
    environment = ENVIRONMENT | {"OMP_NUM_THREADS": str(limits.threads)}
    if not limits.unconfined:
        environment |= dict.fromkeys(HOMES, sandbox.PRIVATE)
        return _run(partial(sandbox.start, WORDS, environment=environment, hidden=hidden), task, limits)
    environment |= {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PYTHONPATH": str(sandbox.PACKAGE.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="dpo-notes-", ignore_cleanup_errors=True) as folder:
        environment |= dict.fromkeys(HOMES, folder)
        words = [sys.executable, "-P", *WORDS]
        return _run(partial(subprocess.Popen, words, cwd=folder, env=environment, **pipes), task, limits)


def _run(start: Callable[[], subprocess.Popen], task: bytes, limits: Limits) -> Said:
    process, said, tree = start(), bytearray(), []
    try:
        Thread(target=_tell, args=(process, task), daemon=True).start()
        reader = Thread(target=_hear, args=(process, said), daemon=True)
        reader.start()
        stopped = _watch(process, said, tree, limits)
    finally:
        _end(process, tree)
    reader.join(timeout=5)  # no longer: unconfined, another process may hold the pipe open
    return _understood(bytes(said), stopped)


def _tell(process: subprocess.Popen, task: bytes) -> None:
    with suppress(OSError):  # it has ended
        process.stdin.write(task)
        process.stdin.flush()


def _hear(process: subprocess.Popen, said: bytearray) -> None:
    while len(said) <= SAID_AT_MOST and (piece := os.read(process.stdout.fileno(), 1 << 16)):
        said.extend(piece)


def _watch(process: subprocess.Popen, said: bytearray, tree: list[psutil.Process], limits: Limits) -> str:
    """Wait until a notebook's processes, `tree`, end, or take more than their share; why they must be ended then."""
    top, end, allowed = psutil.Process(process.pid), time.monotonic() + STARTING, math.inf
    while process.poll() is None:
        tree[:] = _tree(top)
        threads, memory = _taken(tree)
        if allowed == math.inf and said:  # "ready": the package is loaded, and no line of the notebook has run
            end, allowed = time.monotonic() + limits.seconds, memory + limits.memory
            _limit(tree[-1], limits)
            _tell(process, b"go\n")
        if len(said) > SAID_AT_MOST:
            return "stopped: its answers are larger than any that is asked for"
        if time.monotonic() > end:
            return "stopped: out of time"
        if threads > THREADS + 4 * limits.threads:
            return "stopped: more threads than any exercise needs"
        if memory > allowed:
            return "stopped: out of memory"
        if psutil.virtual_memory().available < LEAST_FREE:
            return "stopped: this machine has hardly any memory left"
        time.sleep(WATCHED_EVERY)
    return ""


def _limit(process: psutil.Process, limits: Limits) -> None:
    """What Linux itself refuses to each process, so that a notebook gets a MemoryError where it can."""
    if hasattr(process, "rlimit"):
        most = {"AS": process.memory_info().vms + limits.memory, "CORE": 0, "NOFILE": FILES, "FSIZE": FILE_SIZE}
        for name, value in most.items():
            process.rlimit(getattr(psutil, f"RLIMIT_{name}"), (value, value))


def _tree(top: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [top, *top.children(recursive=True)]
    return [top]


def _taken(tree: list[psutil.Process]) -> tuple[int, int]:
    """(threads, bytes in memory) of these processes."""
    threads = memory = 0
    for process in tree:
        with suppress(psutil.Error, OSError):  # it has ended
            # Linux's own count: psutil reads it from a text in which a process may have a name of its choice.
            tasks = f"/proc/{process.pid}/task"
            threads += len(os.listdir(tasks)) if os.path.isdir(tasks) else process.num_threads()
            memory += process.memory_info().rss
    return threads, memory


def _end(process: subprocess.Popen, tree: list[psutil.Process]) -> None:
    """End a notebook's processes, those too that were seen before the first one ended."""
    tree += [one for one in _tree(psutil.Process(process.pid)) if one not in tree] if process.poll() is None else []
    for one in reversed(tree):
        with suppress(psutil.Error):
            one.kill()
    process.wait()
    process.stdin.close()
    psutil.wait_procs(tree, timeout=5)


def _understood(text: bytes, stopped: str) -> Said:
    said = Said(stopped=stopped)
    for line in [line for line in text.split(b"\n") if line.startswith(b"{")][:LINES]:  # each an object, if it is JSON
        try:
            words = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a line that was cut off, or is none of ours
        if isinstance(words.get("number"), str):
            said.answers[words["number"]] = words.get("answer")
        elif isinstance(words.get("error"), str):
            said.errors.append(f"cell {str(words.get('cell'))[:40]} raises {words['error'][:200]}")
        elif words.get("finished") is True:
            said.finished = True
    return said
