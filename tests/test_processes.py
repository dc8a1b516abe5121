"""Two processes under torchrun, which talk over gloo, take the steps that one process takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import prepare, rows_in, train_from
from safetensors.torch import load_file
from two_processes import SETTINGS

pytestmark = pytest.mark.skipif(os.name == "nt", reason="torchrun starts no gloo processes on Windows")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory, new_tiny_model, tiny_tokenizer, tiny_pairs) -> Path:
    """A folder with the runs of two_processes.py in it, and the same run in one process with batches of 8."""
    folder = prepare(tmp_path_factory.mktemp("processes"), new_tiny_model(), tiny_tokenizer, tiny_pairs[:22])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run = subprocess.run(
        [*command, HERE / "two_processes.py", folder],
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=HERE.parent,
        check=False,
        capture_output=True,
        text=True,
    )
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
    one, other = folder / "two processes", folder / "two processes, stopped"
    assert rows_in(one) == rows_in(other)
    for path in ("model/model.safetensors", "checkpoint/step-00000004/state.safetensors"):
        ours, theirs = load_file(one / path), load_file(other / path)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_command_line_trains_in_two_processes(folder):
    """`torchrun --nproc_per_node 2 -m dpo_notes train …`, with everything a run folder holds, written once."""
    run = folder / "command"
    assert {"config.json", "curves.png", "samples.md", "metrics.jsonl", "checkpoint", "model"} == {
        path.name for path in run.iterdir()
    }
    assert json.loads((run / "config.json").read_text())["processes"] == 2
    assert [row["step"] for row in rows_in(run)] == [0, 1, 2]  # 20 of the 22 pairs, in steps of 2 * 8


def test_a_run_of_two_processes_is_not_resumed_by_one(folder):
    with pytest.raises(ValueError, match=r"processes was 2 and is now 1"):
        train_from(folder, "two processes", resume=True, batch_size=2, accumulation_steps=2, **SETTINGS)
