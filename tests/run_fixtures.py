"""Fixtures that train, in this process or in others. A module gets them by `pytest_plugins = ["run_fixtures"]`."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import FAST, save

from dpo_notes.language.load import frozen_copy
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

# Arguments of train_dpo; every other name is a field of DPOConfig.
ARGUMENTS = ("loss", "eval_pairs", "judge", "output_dir", "resume")


@pytest.fixture
def model_folder(tmp_path, new_tiny_model, tiny_tokenizer) -> Path:
    """A folder with the tiny model and its tokenizer."""
    return save(new_tiny_model(), tiny_tokenizer, tmp_path / "model")


@pytest.fixture
def start(tiny_tokenizer, tiny_pairs, new_tiny_model) -> Callable:
    """start(policy, …, field=value, …): train_dpo on the first 16 pairs, from the tiny model where none is given."""

    def run(policy=None, *, reference="a copy", pairs=tiny_pairs[:16], tokenizer=tiny_tokenizer, **settings):
        policy = policy or new_tiny_model()
        reference = frozen_copy(policy) if reference == "a copy" else reference
        others = {name: settings.pop(name) for name in ARGUMENTS if name in settings}
        return train_dpo(policy, reference, pairs, tokenizer, DPOConfig(**FAST | settings), **others)

    return run


@pytest.fixture
def train(start) -> Callable:
    """train(…): the same to its end, as the list of its rows."""
    return lambda *arguments, **settings: list(start(*arguments, **settings))


@pytest.fixture(scope="module")
def process() -> Callable:
    """process(function, *arguments, **keywords): a started process, forked from a clean one with the imports made."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["runs", "dpo_notes.commands.train_run"])

    def start(function, *arguments, **keywords):
        child = context.Process(target=function, args=arguments, kwargs=keywords)
        child.start()
        return child

    with pytest.MonkeyPatch.context() as patch:
        here = Path(__file__).resolve().parent
        patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent)]))  # not an installed copy
        patch.setenv("OMP_NUM_THREADS", "1")
        yield start
