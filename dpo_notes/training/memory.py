"""Freed memory that a process keeps while it trains: what one step frees, the next one asks for again."""

import ctypes
import functools
import platform
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Row = TypeVar("Row")

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # the settings of mallopt, as glibc's malloc.h numbers them


def keeps_freed_memory(loop: Callable[Arguments, Iterator[Row]]) -> Callable[Arguments, Iterator[Row]]:
    """The same generator function; while its generator runs, glibc keeps the memory that tensors free.

    Left to itself, glibc asks the system for each large tensor's pages when it is made and returns them when it is freed,
    and the system fills them with zeros every time: for the gradients of GPT-2 124M alone half a gigabyte a step. When
    the generator ends, what is free goes back to the system. With another C library (macOS, Windows) nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return loop
    c = ctypes.CDLL(None)

    @functools.wraps(loop)
    def keeping(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Iterator[Row]:
        c.mallopt(MMAP_MAX, 0)  # no tensor is so large that it gets pages of its own
        c.mallopt(TRIM_THRESHOLD, -1)  # and none of the others' go back
        try:
            yield from loop(*arguments, **keywords)
        finally:
            for setting, value in usual:
                c.mallopt(setting, value)
            c.malloc_trim(0)

    # What glibc begins with, or comes to by itself. Kept here: a generator may end after the module's names are gone.
    usual = ((MMAP_MAX, 65536), (MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 64 << 20))
    return keeping
