"""A training command keeps freed memory, because each step needs again what the step before freed."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of mallopt, from glibc's malloc.h


def keep_freed_memory() -> None:
    """Make glibc keep the memory of freed tensors until this process ends. Does nothing with another C library.

    By default, glibc requests pages for each large tensor and returns them when it is freed, and the system zeroes them
    every time: for the gradients of GPT-2 124M alone, half a gigabyte per step. The setting affects the whole process,
    so only our commands make it, not functions that another program may call.
    """
    if platform.libc_ver()[0] == "glibc":
        c = ctypes.CDLL(None)
        c.mallopt(MMAP_MAX, 0)  # even a large tensor gets no pages of its own
        c.mallopt(TRIM_THRESHOLD, -1)  # and free pages are never returned
