"""Linux's Landlock: a process gives up, for itself and all that it starts, files and connections; for good.

https://docs.kernel.org/userspace-api/landlock.html. Python has no module for it, so the three system calls are made here.
"""

import ctypes
import os
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # numbers of the calls, the same on every processor
ASK_VERSION, PATH_BENEATH, NO_NEW_PRIVILEGES = 1, 1, 38
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
READING = EXECUTE | READ_FILE | READ_DIR
FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # the rights that a file, not a folder, can have
RIGHTS = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    5: (1 << 16) - 1,
}  # on files, by the version that adds some
TCP, SIGNALS_AND_SOCKETS = 0b11, 0b11  # of versions 4 and 6


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr: what is forbidden unless a rule allows it."""

    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr: what is allowed below an open folder."""

    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def version() -> int:
    """That of the kernel's Landlock, from 1; below that there is none."""
    return ctypes.CDLL(None, use_errno=True).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)


def restrict(*, readable: list[Path], writable: list[Path]) -> bool:
    """Give up all files but these, TCP, and signals to others; whether the kernel can do it."""
    libc, known = ctypes.CDLL(None, use_errno=True), version()
    if known < 1:
        return False
    files = max(rights for since, rights in RIGHTS.items() if since <= known)
    ruleset = Ruleset(files, TCP if known >= 4 else 0, SIGNALS_AND_SOCKETS if known >= 6 else 0)
    size = 8 if known < 4 else 16 if known < 6 else 24
    rules = libc.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), 0)
    if rules < 0:
        return False
    try:
        allowed = [(path, READING) for path in readable] + [(path, files) for path in writable]
        added = all(_allow(libc, rules, path, rights & files) for path, rights in allowed)
        done = added and libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)
    return done


def _allow(libc: ctypes.CDLL, rules: int, path: Path, rights: int) -> bool:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = PathBeneath(rights if path.is_dir() else rights & FOR_FILES, opened)
        return libc.syscall(ADD_RULE, rules, PATH_BENEATH, ctypes.byref(rule), 0) == 0
    finally:
        os.close(opened)
