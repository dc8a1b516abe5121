"""One process at a time in a run's folder. The operating system frees the folder when its process ends, however it ends."""

import os
from pathlib import Path
from weakref import WeakValueDictionary

try:
    import fcntl
except ImportError:  # on Windows, where a folder cannot be locked
    fcntl = None


class Claim:
    """Keeps other processes from claiming the folder that this descriptor has open, for as long as the object lives."""

    def __init__(self, descriptor: int):
        self.descriptor = descriptor

    def __del__(self):
        os.close(self.descriptor)


_OURS: WeakValueDictionary[tuple[int, int], Claim] = WeakValueDictionary()  # by device and inode of the folder


def claim(folder: Path) -> Claim | None:
    """A claim on this folder for this process; one that it holds already is given again, as where a notebook resumes.

    None where there are no such locks: on Windows, and on some network file systems. Raises BlockingIOError where
    another process holds the folder.
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
