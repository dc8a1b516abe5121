"""Jobs in worker processes: order, threads, errors, and an end to everything when the caller goes."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
from worker_jobs import note, note_or_end

from dpo_notes.experiments.frontier.workers import JobFailed, run_in_workers
from dpo_notes.maths.errors import InputError
from dpo_notes.places import ROOT

pytestmark = pytest.mark.processes


def test_every_job_is_done_once_after_what_it_needs_on_one_thread_of_a_cpu(tmp_path):
    needs = {"c": ("a", "b"), "a": (), "b": ("a",), "d": ("long done",)}  # what is not to be done counts as done
    done = list(run_in_workers(partial(note, tmp_path), needs, workers=2))
    assert sorted(done) == ["a", "b", "c", "d"]
    assert done.index("a") < done.index("b") < done.index("c")
    threads, device, seen = (tmp_path / "c").read_text().split(" ")
    assert (threads, device) == ("1", "cpu")
    assert {"a", "b"} <= set(seen.split(","))


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("refuses", InputError, "refuses: no such thing"),
        ("fails", JobFailed, "fails: ZeroDivisionError: by zero"),
        ("dies", JobFailed, "dies: its process ended in the middle"),
    ],
)
def test_a_job_that_fails_is_named_and_what_was_done_before_stands(tmp_path, name, error, words):
    jobs = run_in_workers(partial(note_or_end, tmp_path), {"first": (), name: ("first",)}, workers=1)
    assert next(jobs) == "first"
    with pytest.raises(error, match=words):
        next(jobs)
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_leaving_the_iterator_ends_a_job_in_its_middle(tmp_path):
    jobs = run_in_workers(partial(note_or_end, tmp_path), {"first": (), "sleeps": ()}, workers=1)
    assert next(jobs) == "first"
    started = time.monotonic()
    jobs.close()
    assert time.monotonic() - started < 30


def test_no_jobs_need_no_process():
    assert list(run_in_workers(note, {}, workers=4)) == []


CALLER = """
import sys
from functools import partial
from pathlib import Path
from worker_jobs import note_or_end
from dpo_notes.experiments.frontier.workers import run_in_workers
if __name__ == "__main__":
    for name in run_in_workers(partial(note_or_end, Path(sys.argv[1])), {"first": (), "sleeps": ("first",)}, workers=1):
        print(name, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of its own")
def test_ctrl_c_reaches_the_caller_alone_which_ends_its_workers(tmp_path):
    """SIGINT to the whole group, as from a terminal: one KeyboardInterrupt, in the caller; workers print nothing."""
    program = tmp_path / "caller.py"
    program.write_text(CALLER, encoding="utf-8")
    (tmp_path / "jobs").mkdir()
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    caller = subprocess.Popen(
        [sys.executable, str(program), str(tmp_path / "jobs")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        start_new_session=True,
    )
    assert caller.stdout.readline() == "first\n"
    time.sleep(0.5)  # the next job is under way
    os.killpg(caller.pid, signal.SIGINT)
    _, said = caller.communicate(timeout=60)
    assert said.count("KeyboardInterrupt") == 1
    deadline = time.monotonic() + 30
    while group_lives(caller.pid) and time.monotonic() < deadline:
        time.sleep(0.1)  # multiprocessing's own helper follows a little later
    assert not group_lives(caller.pid)


def group_lives(group: int) -> bool:
    """Whether any process of the group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
