"""Two processes under torchrun, which talk over gloo, take the steps that one process takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from folders import stranger, tree
from runs import assert_same_end, prepare, rows_in, train_by_command, train_from
from two_processes import SETTINGS, SPLIT

from dpo_notes.places import ROOT
from dpo_notes.training.claim import claim

pytest_plugins = ["run_fixtures"]
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.name == "nt", reason="torchrun starts no gloo processes on Windows"),
]
TESTS = ROOT / "tests"


def torchrun(*words: object) -> subprocess.CompletedProcess:
    """`torchrun --nproc_per_node 2` with these words, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs) -> Path:
    """A folder with the runs of two_processes.py in it, and the same run in one process with batches of 8."""
    folder = prepare(tmp_path_factory.mktemp("processes"), new_tiny_model(), tiny_tokenizer, tiny_pairs[:22])
    run = torchrun(TESTS / "two_processes.py", folder)
    assert run.returncode == 0, run.stderr
    train_from(folder, "one process", batch_size=8, **SETTINGS)
    return folder


def test_two_processes_of_4_pairs_take_the_steps_of_one_process_of_8(folder):
    """14 pairs: a step of 8 and one of 6 in each epoch. Each process accumulates microbatches of at most 2."""
    two, one = rows_in(folder / "two processes"), rows_in(folder / "one process")
    assert [row["step"] for row in two] == [0, 1, 2, 3, 4]
    for ours, theirs in zip(two, one, strict=True):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-5), (theirs["step"], name)


def test_before_any_update_margins_are_0_in_two_processes_too(folder):
    start, first, *_ = rows_in(folder / "two processes")
    assert abs(first["rewards/margins"]) <= 1e-6
    assert abs(start["eval/rewards/margins"]) <= 1e-6
    assert start["eval/kl"] == 0


def test_two_processes_that_stopped_and_were_resumed_end_where_uninterrupted_ones_end(folder):
    assert_same_end(folder / "two processes, stopped", folder / "two processes")


def test_a_run_of_two_processes_is_not_resumed_by_one(folder):
    with pytest.raises(ValueError, match=r"processes was 2 and is now 1"):
        train_from(folder, "two processes", resume=True, batch_size=2, accumulation_steps=2, **SETTINGS)


# The command line.


def command(folder: Path, name: str, **fields: object) -> list[str]:
    """The words after `dpo-notes` for a run into folder/name."""
    words = ["train", "--model", folder / "start", "--data", folder / "pairs.jsonl", "--output", folder / name]
    settings = SETTINGS | {"max_length": 96, "learning_rate": 1e-3} | fields
    return [*map(str, words), *(word for item in settings.items() for word in ("--set", "{}={}".format(*item)))]


@pytest.fixture(scope="module")
def commanded(folder) -> Path:
    """The folder, with the run of `torchrun --nproc_per_node 2 -m dpo_notes train …` in "command"."""
    run = torchrun("-m", "dpo_notes", *command(folder, "command", **SPLIT))
    assert run.returncode == 0, run.stderr
    return folder


def test_the_command_line_trains_in_two_processes_with_all_that_a_run_folder_holds_written_once(commanded):
    run = commanded / "command"
    assert {".dpo-notes.json", "config.json", "curves.png", "samples.md", "metrics.jsonl", "checkpoint", "model"} == {
        path.name for path in run.iterdir()
    }
    assert json.loads((run / "config.json").read_text())["processes"] == 2
    assert [row["step"] for row in rows_in(run)] == list(range(7))  # 20 of the 22 pairs, twice, in steps of 2 * 4


def test_the_command_line_in_two_processes_has_the_losses_of_one(commanded, process):
    child = process(train_by_command, commanded / "printed", *command(commanded, "alone", batch_size=8)[1:])
    child.join()
    assert child.exitcode == 0, (commanded / "printed").read_text()
    two, one = rows_in(commanded / "command"), rows_in(commanded / "alone")
    assert len(two) == len(one)
    for ours, theirs in zip(two, one, strict=True):
        for name in {"loss", "eval/loss"} & theirs.keys():
            assert ours[name] == pytest.approx(theirs[name], rel=1e-5), (theirs["step"], name)


def test_two_processes_killed_and_resumed_by_the_command_line_end_where_uninterrupted_ones_end(commanded):
    """Both die by kill -9 before the fourth update of six, after the checkpoint of step 2."""
    words = command(commanded, "killed", **SPLIT)
    killed = torchrun(TESTS / "two_processes.py", commanded, *words)
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr
    assert [row["step"] for row in rows_in(commanded / "killed")] == [0, 1, 2, 3]
    resumed = torchrun("-m", "dpo_notes", *words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert_same_end(commanded / "killed", commanded / "command")


def test_all_processes_refuse_a_strangers_folder_and_one_in_which_another_run_trains(commanded):
    """Each prints its own line, before and after the model is loaded; none waits for another, and nothing changes."""
    stranger(commanded / "thesis")
    held = claim(commanded / "command")
    for name, more, problem in (
        ("thesis", [], "thesis holds .hidden, and nothing says that dpo-notes made it"),
        ("command", ["--resume"], "command: another process is training there"),
    ):
        before = tree(commanded / name)
        refused = torchrun("-m", "dpo_notes", *command(commanded, name, **SPLIT), *more)
        assert refused.returncode != 0
        assert refused.stderr.count(problem) == 2, refused.stderr
        assert tree(commanded / name) == before
    del held
