"""Shapes and types in signatures are checked at run time in every test; no test reaches the network or a GPU by accident.

The small things that many tests want: a tokenizer, a GPT-2 with random weights, and comparisons, all made in a blink.
"""

import os
from collections.abc import Callable
from itertools import pairwise

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several test processes: each has one core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
from jaxtyping import install_import_hook

install_import_hook("dpo_notes", "runtime_types.typechecker")
# The same examples every time, on a machine of any speed.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("repeatable")

TINY = {"vocabulary_size": 400, "context": 96, "layers": 2, "channels": 32, "heads": 2}


@pytest.fixture(scope="session")
def documents() -> list:
    """200 documents of the review world."""
    import torch

    from dpo_notes.worlds.reviews.world import sample_documents

    return sample_documents(200, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def tiny_tokenizer(documents):
    """Byte-level BPE of 400 tokens, trained on the review world; end of text is also padding and beginning.

    One for all tests: a test that would change it copies it first.
    """
    from dpo_notes.training.pretrain import train_tokenizer

    return train_tokenizer([document.text for document in documents], vocabulary_size=TINY["vocabulary_size"])


@pytest.fixture(scope="session")
def new_tiny_model(tiny_tokenizer) -> Callable:
    """new_tiny_model(seed=0): a new random GPT-2 for `tiny_tokenizer`: 2 layers, 32 channels, 96 tokens, no dropout.

    Its matrices are eight times those of a fresh GPT-2, so that predictions are far from uniform and heed the context.
    """
    import torch

    from dpo_notes.training.pretrain import PretrainConfig, new_model

    def make(seed: int = 0):
        model = new_model(tiny_tokenizer, PretrainConfig(**TINY, seed=seed)).eval()
        with torch.no_grad():
            for matrix in (parameter for parameter in model.parameters() if parameter.ndim > 1):
                matrix.mul_(8)
        return model

    return make


@pytest.fixture
def tiny_model(new_tiny_model):
    """A random GPT-2 of this test's own."""
    return new_tiny_model()


@pytest.fixture(scope="session")
def tiny_pairs(documents) -> list:
    """24 comparisons of the review world, none cut by `tiny_model`'s context: a prompt, its response and another's."""
    from dpo_notes.pairs.load import PreferencePair

    short = [document for document in documents if document.prompt and len(document.text) < 170][:25]
    return [PreferencePair(a.prompt, a.response, b.response) for a, b in pairwise(short)]


@pytest.fixture(scope="session")
def in_module() -> Callable:
    """in_module(model): a wrapper that keeps the model in `module`, as DistributedDataParallel does."""
    from torch import nn

    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module):
            super().__init__()
            self.module = module

        def forward(self, **inputs: object):
            return self.module(**inputs)

    return Wrapper
