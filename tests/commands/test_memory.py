"""Memory that a training command keeps from step to step, and no other program, as the system counts it.

Each test counts in a process of its own: in one that has done much, freed pieces lie about that any tensor may take.
"""

import multiprocessing
import platform
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from dpo_notes.cli import main
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.pairs.load import load_pairs
from dpo_notes.training import step
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told to keep memory")

NUMBERS = 16_000_000  # of 4 bytes: 64 MB, above what glibc keeps by itself


@pytest.fixture
def apart():
    """apart(function, ...) -> what the function gives in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        yield lambda *call: process.submit(*call).result()


def page_faults() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def pages_taken(*_) -> int:
    """How many pages the system gives for a large tensor, which is then freed."""
    before = page_faults()
    torch.ones(NUMBERS)
    return page_faults() - before


def taken_by_a_command(words: list[str]) -> list[int]:
    """The pages that a large tensor takes at each optimizer step of a command."""
    taken, take_step = [], step.OptimizerStep.__call__
    step.OptimizerStep.__call__ = lambda *call: taken.append(pages_taken()) or take_step(*call)
    assert main(words) == 0
    return taken


def taken_by_a_program() -> list[int]:
    """The same in a program that calls `train_dpo` itself."""
    taken = []

    def own_loss(chosen, rejected, *, beta):
        taken.append(pages_taken())
        return dpo_loss(chosen, rejected, beta=beta)

    model, tokenizer = load_model()
    pairs = load_pairs("embedded", split="train")[:24]
    list(train_dpo(model, frozen_copy(model), pairs, tokenizer, DPOConfig(eval_samples=0), loss=own_loss))
    return taken


SMALL = ["--set", "eval_samples=0", "--set", "checkpoint_every=0", "--set", "batch_size=4"]


@pytest.mark.parametrize(
    "words", [["train", *SMALL], ["ppo", *SMALL, "--set", "steps=4", "--set", "minibatch_size=4"]], ids=["train", "ppo"]
)
def test_a_command_asks_the_system_once_for_what_every_step_takes(apart, tmp_path, words):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "Where is Paris?", "chosen": " In France.", "rejected": " In Kenya."}\n' * 24)
    places = ["--data", str(pairs), "--eval-data", str(pairs), "--output", str(tmp_path / "run")]
    usual, taken = apart(pages_taken), apart(taken_by_a_command, [*words, *places])
    assert len(taken) >= 4 and min(taken) * 10 < usual


def test_a_program_that_trains_keeps_its_own_settings(apart):
    assert min(apart(taken_by_a_program)) * 2 > apart(pages_taken)
