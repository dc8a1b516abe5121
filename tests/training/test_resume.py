"""A run that was killed (kill -9) and resumed ends, bit by bit, where the uninterrupted one ends."""

import os
import random
import time
from pathlib import Path

import pytest
from runs import assert_same_end, prepare, rows_in, train_and_be_killed, train_and_die_saving, train_from

pytest_plugins = ["run_fixtures"]
pytestmark = [pytest.mark.processes, pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")]
SETTINGS = {"batch_size": 2, "epochs": 3, "eval_every": 7, "eval_samples": 4, "checkpoint_every": 4}
PLACES = (  # where a run is killed, in turn, and at which call; calls are counted anew in each process
    ("before an update of the weights", 3),  # no checkpoint yet: from the start again
    ("half a row written", 7),  # step 0 counts; at step 6, after the checkpoint of step 4
    ("half a text file written", 1),  # the metrics up to step 4
    ("half a checkpoint written", 2),  # of step 12, after that of step 8
    ("half a text file written", 2),  # of step 12 again, its tensors being whole
    ("a checkpoint written, not yet in its place", 3),  # of step 20
    ("before the model is saved", 1),  # all steps done
    ("half the model saved", 1),
    ("the model written, not yet in its place", 1),  # all is done but this
)
CHANGES = 8  # that a checkpoint makes to files and folders, the removal of an older one included
FIRST_CHANGES = 5  # that one makes before which there are fewer than two


@pytest.fixture(scope="module")
def folder(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs, process) -> Path:
    """A folder to train from, with an uninterrupted run in it."""
    folder = prepare(tmp_path_factory.mktemp("runs"), new_tiny_model(), tiny_tokenizer, tiny_pairs)
    child = process(train_from, folder, "uninterrupted", **SETTINGS)
    child.join()
    assert child.exitcode == 0
    return folder


def test_killed_at_each_place_where_it_might_hurt_and_resumed_is_the_uninterrupted_run_bit_by_bit(process, folder):
    """One run, killed at one place after the other."""
    for death, call in PLACES:
        child = process(train_and_be_killed, folder, "killed", death, call, **SETTINGS)
        child.join()
        assert child.exitcode == -9, death
        assert not (folder / "killed/model").exists()
    child = process(train_from, folder, "killed", resume=True, **SETTINGS)
    child.join()
    assert child.exitcode == 0
    assert_same_end(folder / "killed", folder / "uninterrupted")


def test_killed_before_each_change_that_a_checkpoint_makes_to_files_and_resumed_is_the_uninterrupted_run(
    process, folder
):
    """Before, between and after its files, before and after it is moved to its place, and while an older one goes."""
    settings = SETTINGS | {"checkpoint_every": 1}
    for change in (2 * FIRST_CHANGES + 1, *range(2, CHANGES + 1)):
        child = process(train_and_die_saving, folder, "killed while saving", change, **settings)
        child.join()
        assert child.exitcode == -9, change
    child = process(train_from, folder, "killed while saving", resume=True, **settings)
    child.join()
    assert child.exitcode == 0
    assert_same_end(folder / "killed while saving", folder / "uninterrupted")


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
