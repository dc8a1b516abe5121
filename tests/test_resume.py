"""A run that was killed (kill -9) and resumed ends, bit by bit, where the uninterrupted one ends."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch
from runs import prepare, rows_in, train_and_be_killed, train_from
from safetensors.torch import load_file

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
SETTINGS = {"batch_size": 2, "epochs": 3, "eval_every": 7, "eval_samples": 4, "checkpoint_every": 4}
STEPS = 24  # of 16 pairs


@pytest.fixture(scope="module")
def process():
    """process(function, *arguments, **keywords): a started process, forked from a clean one with the imports made."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["runs"])

    def start(function, *arguments, **keywords):
        child = context.Process(target=function, args=arguments, kwargs=keywords)
        child.start()
        return child

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield start


@pytest.fixture(scope="module")
def folder(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs, process) -> Path:
    """A folder to train from, with an uninterrupted run in it."""
    folder = prepare(tmp_path_factory.mktemp("runs"), new_tiny_model(), tiny_tokenizer, tiny_pairs)
    child = process(train_from, folder, "uninterrupted", **SETTINGS)
    child.join()
    assert child.exitcode == 0
    return folder


def assert_same_end(one: Path, other: Path) -> None:
    """Every row but its speed, the model, and the last checkpoint with Adam's moments: all equal, bit by bit."""
    assert [row["step"] for row in rows_in(one)] == list(range(STEPS + 1))
    assert rows_in(one) == rows_in(other)
    for path in ("model/model.safetensors", f"checkpoint/step-{STEPS:08d}/state.safetensors"):
        ours, theirs = load_file(one / path), load_file(other / path)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_killed_five_times_and_resumed_is_the_uninterrupted_run_bit_by_bit(process, folder):
    """One run, killed at each place where that might hurt, in turn. Calls are counted anew in each process."""
    for death, call in (
        ("before an update of the weights", 3),  # no checkpoint yet: from the start again
        ("half a row written", 7),  # step 0 counts; at step 6, after the checkpoint of step 4
        ("half a checkpoint written", 2),  # of step 12, after that of step 8
        ("a checkpoint written, not yet in its place", 3),  # of step 20
        ("before the model is saved", 1),  # all steps done
    ):
        child = process(train_and_be_killed, folder, "killed", death, call, **SETTINGS)
        child.join()
        assert child.exitcode == -9, death
        assert not (folder / "killed/model").exists()
    child = process(train_from, folder, "killed", resume=True, **SETTINGS)
    child.join()
    assert child.exitcode == 0
    assert_same_end(folder / "killed", folder / "uninterrupted")


def test_a_finished_run_that_is_resumed_stays_as_it_is(process, folder):
    before = rows_in(folder / "uninterrupted")
    child = process(train_from, folder, "uninterrupted", resume=True, **SETTINGS)
    child.join()
    assert child.exitcode == 0
    assert rows_in(folder / "uninterrupted") == before


@pytest.mark.slow
def test_killed_thirty_times_at_any_moment_and_resumed_is_the_uninterrupted_run(process, folder):
    """From outside, at random moments: within a step, an evaluation, a checkpoint, or between them."""
    moments, kills, round_number = random.Random(0), 0, 0
    while kills < 30:
        round_number += 1
        name, deaths = f"killed again {round_number}", 0
        while True:
            child = process(train_from, folder, name, resume=True, **SETTINGS)
            rows = folder / name / "metrics.jsonl"
            at_start = rows.read_text().count("\n") if rows.exists() else 0
            wanted = at_start + moments.randint(0, 8)
            while child.is_alive() and (not rows.exists() or rows.read_text().count("\n") < wanted):
                time.sleep(0.001)
            time.sleep(moments.random() * 0.03)
            child.kill()
            child.join()
            deaths += child.exitcode == -9
            if child.exitcode == 0:
                break
        kills += deaths
        assert_same_end(folder / name, folder / "uninterrupted")
