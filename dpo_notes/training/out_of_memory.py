"""A run out of memory, on a GPU or the CPU, says in one line what to change."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

CPU_WORDS = ("can't allocate memory", "not enough memory", "std::bad_alloc")  # PyTorch's allocator on the systems


class OutOfMemory(RuntimeError):
    """A step or an evaluation does not fit into memory. The last checkpoint is intact."""


@contextmanager
def memory_in_one_line(what: str) -> Iterator[None]:
    """While open, running out of memory raises OutOfMemory, with the settings to change."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not any(w in str(error) for w in CPU_WORDS):
            raise
        raise OutOfMemory(
            f"{what} does not fit into memory; halve batch_size and double accumulation_steps, which makes the same "
            "steps, or lower max_length"
        ) from None
