"""Memory that is kept from step to step, and given back at the end; seen in the system's own counts.

Each test counts in a process of its own: in one that has done much, freed pieces lie about that any tensor may take.
"""

import multiprocessing
import platform
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from few_words import count_words
from test_ppo import start as start_ppo

from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.pairs.load import load_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.memory import keeps_freed_memory
from dpo_notes.training.pretrain import PretrainConfig, pretrain

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


def resident() -> float:
    """What this process holds of the machine's memory, in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


def pages_taken() -> int:
    """How many pages the system gives for a large tensor, which is then freed."""
    before = page_faults()
    torch.ones(NUMBERS)
    return page_faults() - before


def steps():
    for _ in range(5):
        yield pages_taken()


def fail():
    yield from steps()
    raise ZeroDivisionError


def usual_and_kept() -> tuple[list[int], list[int]]:
    return list(steps()), list(keeps_freed_memory(steps)())


def test_once_a_tensor_has_its_place_the_system_is_not_asked_again(apart):
    usual, kept = apart(usual_and_kept)
    assert min(kept) * 10 < min(usual)


def while_running_and_afterwards(how: str) -> tuple[float, float, int]:
    """MB held in the loop and after its end, and the pages that a tensor then takes."""
    rows = keeps_freed_memory(fail if how == "by an error" else steps)()
    next(rows)
    held = resident()
    if how == "closed":
        rows.close()
    elif how == "by an error":
        with pytest.raises(ZeroDivisionError):
            list(rows)
    else:
        list(rows)
    return held, resident(), pages_taken()


def test_when_the_loop_ends_the_memory_goes_back(apart):
    for how in ("to its end", "closed", "by an error"):
        held, left, taken = apart(while_running_and_afterwards, how)
        assert left < held - 50 and taken > 0, how


def test_a_loop_that_is_left_open_ends_in_silence_with_the_program():
    program = "from dpo_notes.training.memory import keeps_freed_memory as keeps\n"
    program += "rows = keeps(lambda: (yield 1))()\nnext(rows)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def taken_in(loop: str) -> list[int]:
    """The pages that a large tensor takes at each step of a training loop."""
    taken = []

    def step():
        taken.append(pages_taken())

    model, tokenizer = load_model()
    if loop == "dpo":
        pairs = load_pairs("embedded", split="train")[:24]
        config = DPOConfig(eval_samples=0)
        heard = lambda chosen, rejected, *, beta: step() or dpo_loss(chosen, rejected, beta=beta)
        list(train_dpo(model, frozen_copy(model), pairs, tokenizer, config, loss_fn=heard))
    elif loop == "ppo":
        list(start_ppo(reward_fn=lambda prompts, responses: step() or count_words(prompts, responses)))
    else:
        model.register_forward_hook(lambda *_: step())
        list(pretrain(model, tokenizer, ["a b c " * 200] * 10, PretrainConfig(steps=5)))
    return taken


@pytest.mark.parametrize("loop", ["dpo", "ppo", "pretrain"])
def test_every_loop_trains_so(apart, loop):
    assert min(apart(taken_in, loop)) * 10 < apart(pages_taken)
