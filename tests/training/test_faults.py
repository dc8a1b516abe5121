"""What can go wrong with `dpo-notes train`: a full or read-only disk, Ctrl-C, a second run, numbers that overflow.

Each run has its own process. It ends with one line that says what to do; if you do so, the run ends, bit for bit, like
one where nothing went wrong. test_resume.py tests what `kill -9` leaves behind.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import tree
from runs import assert_same_end, checkpoints_in, prepare, rows_in, train_by_command, words_to_go_on, write_pairs
from safetensors.torch import load_file, save_file

from dpo_notes.pairs.load import PreferencePair
from dpo_notes.places import ROOT

pytest_plugins = ["run_fixtures"]
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.name == "nt", reason="sends signals and mounts disks as Unix does"),
]

FIELDS = {"batch_size": 2, "eval_samples": 4, "checkpoint_every": 2, "learning_rate": 1e-3, "max_length": 96}
ONE_CHECKPOINT = 500  # kilobytes, of the tiny model
READ_ONLY = "dpo-notes: {}: Read-only file system; expected a writable folder with room in it"
OFFLINE = ROOT / "authoring" / "offline"


def words(folder: Path, output: Path, **fields) -> list[str]:
    """The words after `dpo-notes train` for a run from `folder` into `output`."""
    given = ["--model", folder / "start", "--data", folder / "pairs.jsonl", "--output", output]
    assignments = [f"{name}={value}" for name, value in (FIELDS | fields).items()]
    return [*map(str, given), *(word for assignment in assignments for word in ("--set", assignment))]


@pytest.fixture
def train(process, tmp_path) -> Callable:
    """train(*words): what `dpo-notes train` prints with these words, and its exit code, in its own process."""

    def run(*words: str) -> tuple[str, int]:
        output = tmp_path / "printed"
        child = process(train_by_command, output, *words)
        child.join()
        return output.read_text(encoding="utf-8"), child.exitcode

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs, process) -> Path:
    """What the runs start from, and in "uninterrupted" the run where nothing goes wrong: 11 steps."""
    folder = prepare(tmp_path_factory.mktemp("faults"), new_tiny_model(), tiny_tokenizer, tiny_pairs)
    child = process(train_by_command, folder / "printed", *words(folder, folder / "uninterrupted"))
    child.join()
    assert child.exitcode == 0, (folder / "printed").read_text()
    return folder


def the_line(printed: str) -> str:
    """The last line that a command printed, the only one about the fault."""
    *before, line = printed.splitlines()
    assert "Traceback" not in printed
    assert not any("dpo-notes:" in earlier for earlier in before)
    return line


# A full disk, and one that cannot be written.


def mount(*arguments: object) -> None:
    """The system's `mount`; the test is skipped where it refuses."""
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path) -> Callable:
    """disk(kilobytes): a new disk of this size in memory, where it is mounted."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    place = tmp_path / "disk"

    def make(kilobytes: int) -> Path:
        place.mkdir()
        mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place)
        return place

    yield make
    if os.path.ismount(place):
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("room", [0.5, 2.5], ids=lambda room: f"room for {room} checkpoints")
def test_on_a_full_disk_a_run_stops_in_one_line_and_with_room_goes_on_to_the_same_end(disk, train, folder, room):
    """In between, the disk is read-only: that, too, is one line, and nothing on it changes."""
    place = disk(round(room * ONE_CHECKPOINT))
    run = place / "run"
    said, code = train(*words(folder, run))
    full = r"dpo-notes: cannot write: .*No space left on device.*\. Saved checkpoints are intact;"
    assert code == 1 and re.match(full, the_line(said))
    assert checkpoints_in(run) == ["step-00000002", "step-00000004"][: int(room)]
    assert not (run / "model").exists()

    before = tree(run)
    mount("-o", "remount,ro", place)
    refused, code = train(*words_to_go_on(said))
    assert (the_line(refused), code) == (READ_ONLY.format(run), 2)
    assert tree(run) == before

    mount("-o", "remount,rw,size=64m", place)
    said, code = train(*words_to_go_on(said))
    assert code == 0, said
    assert "is damaged" not in said
    assert_same_end(run, folder / "uninterrupted")


def test_a_new_run_where_nothing_can_be_written_is_one_line_before_any_training(disk, train, folder):
    place = disk(1000)
    mount("-o", "remount,ro", place)
    said, code = train(*words(folder, place / "run"))
    assert (the_line(said), code) == (READ_ONLY.format(place / "run"), 2)
    assert list(place.iterdir()) == []


# Ctrl-C, and a second run.


def wait_for_rows(run: Path, count: int) -> None:
    """Wait until the run has written this number of rows, for at most two minutes."""
    rows, deadline = run / "metrics.jsonl", time.monotonic() + 120
    while not rows.exists() or rows.read_text().count("\n") < count:
        assert time.monotonic() < deadline, f"no {count} rows in {rows}"
        time.sleep(0.005)


def test_ctrl_c_ends_in_one_line_on_how_to_go_on_and_that_leads_to_the_same_end(train, folder, tmp_path):
    """The command itself, as a terminal starts it, and the signal that a terminal sends."""
    run = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-m", "dpo_notes", "train", *words(folder, run)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        wait_for_rows(run, 4)  # of 12
        command.send_signal(signal.SIGINT)
        _, said = command.communicate()
    assert command.returncode == 130
    assert the_line(said).startswith("stopped; continue with: dpo-notes train ")
    assert not (run / "model").exists()
    said, code = train(*words_to_go_on(said))
    assert code == 0, said
    assert_same_end(run, folder / "uninterrupted")


def test_of_two_runs_that_start_at_once_in_one_folder_one_is_refused_and_the_other_ends_as_alone(
    process, folder, tmp_path
):
    run, files = tmp_path / "run", [tmp_path / "first", tmp_path / "second"]
    children = [process(train_by_command, said, *words(folder, run)) for said in files]
    for child in children:
        child.join()
    outcome = {child.exitcode: said.read_text() for child, said in zip(children, files, strict=True)}
    assert sorted(outcome) == [0, 2]
    refused = rf"dpo-notes: {run}(: another process is training there| holds a run already);"
    assert re.match(refused, the_line(outcome[2]))
    assert_same_end(run, folder / "uninterrupted")


def test_a_run_is_not_resumed_while_it_still_runs(process, train, folder, tmp_path):
    """The first one is stopped halfway (SIGSTOP) until the second one has given up. Both would write the same files."""
    run = tmp_path / "run"
    first = process(train_by_command, tmp_path / "first", *words(folder, run))
    wait_for_rows(run, 4)
    os.kill(first.pid, signal.SIGSTOP)
    before = tree(run)
    said, code = train(*words(folder, run), "--resume")
    after = tree(run)
    os.kill(first.pid, signal.SIGCONT)
    first.join()
    assert after == before
    busy = f"dpo-notes: {run}: another process is training there; wait until it ends, or give another folder"
    assert (the_line(said), code) == (busy, 2)
    assert first.exitcode == 0
    assert_same_end(run, folder / "uninterrupted")


# Numbers that run away.


def test_a_weight_too_large_stops_the_run_at_the_step_that_meets_it_with_its_pairs_named(train, folder, tmp_path):
    """Only the response of line 6 is long enough to meet the embedding of position 90. Resuming meets it again."""
    short = [PreferencePair(f"Where is Paris? {n} ", " In France.", " In Spain.") for n in range(8)]
    pairs = [*short[:5], PreferencePair("Where is Paris? ", " In France." * 40, " In Spain."), *short[5:]]
    write_pairs(tmp_path / "pairs.jsonl", pairs)
    write_pairs(tmp_path / "held_out.jsonl", short[:2])
    shutil.copytree(folder / "start", tmp_path / "start")
    weights = load_file(tmp_path / "start/model.safetensors")
    weights["transformer.wpe.weight"][90] = 3e38  # a number still, but no sum of two of them is
    save_file(weights, tmp_path / "start/model.safetensors", {"format": "pt"})
    given = words(tmp_path, tmp_path / "run", checkpoint_every=1, eval_samples=2)
    given += ["--eval-data", str(tmp_path / "held_out.jsonl")]
    said, code = train(*given)
    found = re.fullmatch(
        r"dpo-notes: step (\d+): loss nan, gradient norm nan; the update was not made; the step held (.*)\. "
        r"Saved checkpoints are intact; a lower learning rate may help\.",
        the_line(said),
    )
    assert code == 1 and found, said
    step, named = int(found[1]), found[2].split("; ")
    assert f"{tmp_path}/pairs.jsonl, line 6" in named and len(named) <= 2
    assert step > 1 and checkpoints_in(tmp_path / "run")[-1] == f"step-{step - 1:08d}"
    assert [row["step"] for row in rows_in(tmp_path / "run")] == list(range(step))
    again, code = train(*given, "--resume")
    assert (the_line(again), code) == (the_line(said), 1)


@pytest.mark.parametrize(
    ("fields", "problem", "kept"),
    [
        ({"checkpoint_every": 1}, r"step 2: loss .*; the update was not made; the step held .*jsonl, line \d+.*", 1),
        ({"batch_size": 32, "eval_samples": 0}, "step 1: eval/loss nan; nothing was saved after this step", 0),
        ({"batch_size": 32}, r"the model predicts NaN; expected numbers \(has its training diverged\?\)", 0),
    ],
    ids=["in the next step", "in the evaluation of the last step", "in the samples after the last step"],
)
def test_a_learning_rate_beyond_reason_is_one_line_and_leaves_no_model(train, folder, tmp_path, fields, problem, kept):
    run = tmp_path / "run"
    said, code = train(*words(folder, run, **fields | {"learning_rate": 1e30}))
    line = rf"dpo-notes: {problem}\. Saved checkpoints are intact; a lower learning rate may help\."
    assert code == 1 and re.fullmatch(line, the_line(said)), said
    assert checkpoints_in(run) == [f"step-{step:08d}" for step in range(1, kept + 1)]
    assert not (run / "model").exists()


# No network.


@pytest.mark.parametrize("option", ["--model", "--data"])
def test_a_hub_name_without_network_is_one_line(folder, tmp_path, option):
    """With every connection beyond this machine refused, and the hub's libraries free to try one."""
    given = [*words(folder, tmp_path / "run"), option, "nobody/nothing"]
    free = {name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    done = subprocess.run(
        [sys.executable, "-m", "dpo_notes", "train", *given],
        env=free | {"PYTHONPATH": str(OFFLINE), "HF_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"dpo-notes: .*nobody/nothing.*: no such .*hub.*", the_line(done.stderr))
    assert not (tmp_path / "run").exists()
