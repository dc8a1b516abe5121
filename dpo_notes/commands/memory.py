"""Freed memory that a training command keeps: what one step frees, the next one asks for again."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # the settings of mallopt, as glibc's malloc.h numbers them


def keep_freed_memory() -> None:
    """Until this process ends, glibc keeps the memory that tensors free. With another C library nothing happens.

    Left to itself, glibc asks the system for each large tensor's pages when it is made and returns them when it is freed,
    and the system fills them with zeros every time: for the gradients of GPT-2 124M alone half a gigabyte a step. It is
    a setting of the whole process, so only a command makes it, and no function that somebody else's program may call.
    """
    if platform.libc_ver()[0] == "glibc":
        c = ctypes.CDLL(None)
        c.mallopt(MMAP_MAX, 0)  # no tensor is so large that it gets pages of its own
        c.mallopt(TRIM_THRESHOLD, -1)  # and none of the others' go back
