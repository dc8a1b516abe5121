"""A lock on a run's folder, for one process at a time. The operating system releases it when the process ends."""

import os
from pathlib import Path
from weakref import WeakValueDictionary

try:
    import fcntl
except ImportError:  # Windows cannot lock a folder
    fcntl = None


class Claim:
    """While this object lives, no other process can claim the folder that `descriptor` has open."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __del__(self):
        os.close(self.descriptor)


_OURS: WeakValueDictionary[tuple[int, int], Claim] = WeakValueDictionary()  # by device and inode of the folder


def claim(folder: Path) -> Claim | None:
    """This process's claim on the folder: a second call returns the same one, so that a notebook can resume its run.

    None if there are no such locks, as on Windows and some network file systems. Raises BlockingIOError if another
    process holds the folder.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    place = os.fstat(descriptor)
    held = _OURS.get((place.st_dev, place.st_ino))
    if held is not None:
        os.close(descriptor)
        return held
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    _OURS[place.st_dev, place.st_ino] = made = Claim(descriptor)
    return made
