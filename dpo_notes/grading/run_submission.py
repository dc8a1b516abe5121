"""Run one returned notebook in its own sandbox, and read its output until it ends or exceeds its limits."""

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

MAX_OUTPUT = 4 * 2**20  # bytes in all from a notebook's process
STARTING, WATCHED_EVERY = 120, 0.02  # seconds: to load torch before the notebook's time begins; between two looks
THREADS = 48  # for one notebook besides PyTorch's; the solution of 09 has 10 in all
LEAST_FREE = 2**28  # bytes of memory that must remain free on the machine
OUT_OF_TIME = "stopped: out of time"
LINES = 10_000  # of the output that we read; an answer is one line
FILES, FILE_SIZE = 256, 128 * 2**20  # open files, and bytes in one file
WORDS = ("-m", "dpo_notes.grading.notebook_process")
ENVIRONMENT = {"MPLBACKEND": "agg", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
ENVIRONMENT |= {"OMP_WAIT_POLICY": "PASSIVE"}  # waiting threads leave the processor to others
ENVIRONMENT |= {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "LANG": "C.UTF-8", "USER": "reader"}
HOMES = ("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR")
PASSED_ON = ("PATH", "SYSTEMROOT")  # to an unconfined notebook; other variables may hold secrets


@dataclass
class Outcome:
    """The output of a notebook's process.

    answers: the last report on each exercise, not yet judged. errors: what its cells raised. finished: whether it
    reached its end. stopped: why we ended it; empty if we did not.
    """

    answers: dict[str, object] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    finished: bool = False
    stopped: str = ""


@dataclass(frozen=True)
class Limits:
    """Limits for one notebook. seconds: wall-clock time. memory: bytes in all its processes, after loading the package.

    threads: PyTorch's. unconfined: run it without the sandbox. patience: seconds too, asked again while it runs.
    """

    seconds: float
    memory: int
    threads: int = 1
    unconfined: bool = False
    patience: Callable[[], float] = field(default=lambda: math.inf, compare=False)


def run_submission(
    submission: Submission, exercises: Sequence[Exercise], limits: Limits, *, hidden: Sequence[Path] = ()
) -> Outcome:
    """Run all cells of a submission within the limits. Returns, whatever the submission does.

    hidden: files and folders that it must not see, even inside folders that it may see.
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


def _run(start: Callable[[], subprocess.Popen], task: bytes, limits: Limits) -> Outcome:
    process, output, tree = start(), bytearray(), []
    try:
        Thread(target=_send, args=(process, task), daemon=True).start()
        reader = Thread(target=_read, args=(process, output), daemon=True)
        reader.start()
        stopped = _watch(process, output, tree, limits)
    finally:
        _end(process, tree)
    reader.join(timeout=5)  # no longer: unconfined, another process may hold the pipe open
    return _parse(bytes(output), stopped)


def _send(process: subprocess.Popen, data: bytes) -> None:
    with suppress(OSError):  # it has ended
        process.stdin.write(data)
        process.stdin.flush()


def _read(process: subprocess.Popen, output: bytearray) -> None:
    while len(output) <= MAX_OUTPUT and (piece := os.read(process.stdout.fileno(), 1 << 16)):
        output.extend(piece)


def _watch(process: subprocess.Popen, output: bytearray, tree: list[psutil.Process], limits: Limits) -> str:
    """Wait until a notebook's processes, `tree`, end or exceed a limit; returns why we must end them, or ""."""
    top, since, allowed = psutil.Process(process.pid), time.monotonic(), math.inf
    while process.poll() is None:
        tree[:] = _tree(top)
        threads, memory = _usage(tree)
        if allowed == math.inf and output:  # "ready": the package is loaded, and no line of the notebook has run
            since, allowed = time.monotonic(), memory + limits.memory
            _limit(tree[-1], limits)
            _send(process, b"go\n")
        if len(output) > MAX_OUTPUT:
            return "stopped: its answers are larger than any exercise needs"
        most = STARTING if allowed == math.inf else min(limits.seconds, limits.patience())
        if time.monotonic() - since > most:
            return f"{OUT_OF_TIME} after {most:.0f} seconds"
        if threads > THREADS + 4 * limits.threads:
            return "stopped: more threads than any exercise needs"
        if memory > allowed:
            return "stopped: out of memory"
        if psutil.virtual_memory().available < LEAST_FREE:
            return "stopped: this machine is almost out of memory"
        time.sleep(WATCHED_EVERY)
    return ""


def _limit(process: psutil.Process, limits: Limits) -> None:
    """Set limits that Linux enforces for each process, so that a notebook gets a MemoryError if possible."""
    if hasattr(process, "rlimit"):
        most = {"AS": process.memory_info().vms + limits.memory, "CORE": 0, "NOFILE": FILES, "FSIZE": FILE_SIZE}
        for name, value in most.items():
            process.rlimit(getattr(psutil, f"RLIMIT_{name}"), (value, value))


def _tree(top: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return [top, *top.children(recursive=True)]
    return [top]


def _usage(tree: list[psutil.Process]) -> tuple[int, int]:
    """(threads, bytes in memory) of these processes."""
    threads = memory = 0
    for process in tree:
        with suppress(psutil.Error, OSError):  # it has ended
            # Linux's own count: psutil parses a text that includes the process's name, which the process can choose.
            tasks = f"/proc/{process.pid}/task"
            threads += len(os.listdir(tasks)) if os.path.isdir(tasks) else process.num_threads()
            memory += process.memory_info().rss
    return threads, memory


def _end(process: subprocess.Popen, tree: list[psutil.Process]) -> None:
    """End a notebook's processes, including those that we saw before the first one ended."""
    tree += [one for one in _tree(psutil.Process(process.pid)) if one not in tree] if process.poll() is None else []
    for one in reversed(tree):
        with suppress(psutil.Error):
            one.kill()
    process.wait()
    process.stdin.close()
    psutil.wait_procs(tree, timeout=5)


def _parse(text: bytes, stopped: str) -> Outcome:
    outcome = Outcome(stopped=stopped)
    for line in [line for line in text.split(b"\n") if line.startswith(b"{")][:LINES]:  # if it is JSON, an object
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            continue  # a line that was cut off, or is not ours
        if isinstance(message.get("number"), str):
            outcome.answers[message["number"]] = message.get("answer")
        elif isinstance(message.get("error"), str):
            outcome.errors.append(f"cell {str(message.get('cell'))[:40]} raises {message['error'][:200]}")
        elif message.get("finished") is True:
            outcome.finished = True
    return outcome
