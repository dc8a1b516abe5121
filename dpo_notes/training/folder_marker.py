"""The marker in every folder that we write: who made it and, if we may replace it all, the checksum of each file."""

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

MARKER = ".dpo-notes.json"
MARKER_ASIDE = MARKER + ".writing"
LARGEST_MARKER = 16_000_000  # bytes: a list of 100,000 files


@dataclass(frozen=True)
class Marker:
    """Who made a folder; if it is always replaced as a whole, also the sha256 of each file by its relative path."""

    maker: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The contents of the marker file."""
        return json.dumps({"made_by": self.maker} | ({"files": self.files} if self.files else {}), indent=0) + "\n"


def read_marker(folder: Path) -> Marker | None:
    """The marker of a folder; None if it is missing, damaged or not a file."""
    path = folder / MARKER
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_MARKER:
            return None
        marker = json.loads(path.read_text(encoding="utf-8"))
        maker, files = marker["made_by"], marker.get("files", {})
        valid = isinstance(maker, str) and all(isinstance(checksum, str) for checksum in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Marker(maker, files) if valid else None


def write_marker(folder: Path, marker: Marker) -> None:
    """Write the marker into the folder atomically."""
    aside = folder / MARKER_ASIDE
    aside.write_bytes(marker.text.encode())
    os.replace(aside, folder / MARKER)


def is_begun(folder: Path, names: list[str], maker: str) -> bool:
    """Whether all that the folder holds (`names`) is the beginning of our marker: we were killed while writing it."""
    aside = folder / MARKER_ASIDE
    if names != [MARKER_ASIDE] or not stat.S_ISREG(aside.lstat().st_mode):
        return False
    whole = Marker(maker).text.encode()
    return aside.stat().st_size <= len(whole) and whole.startswith(aside.read_bytes())


def sort_out(folder: Path, marker: Marker) -> tuple[list[str], list[str], list[str]]:
    """(listed files that exist, the folders that hold them, everything else but the marker), as relative paths.

    Whatever the list says, we never look into other people's folders and never name a path outside this one.
    """
    ours = {parent.as_posix() for name in marker.files for parent in PurePosixPath(name).parents}
    listed, folders, others, waiting = [], [], [], [""] if folder.is_dir() else []
    while waiting:
        inside = waiting.pop()
        for entry in os.scandir(folder / inside):
            name = f"{inside}{entry.name}"
            if name in marker.files:
                listed.append(name)
            elif name in ours and entry.is_dir(follow_symlinks=False):
                folders.append(name)
                waiting.append(name + "/")
            elif name != MARKER:
                others.append(name)
    return sorted(listed), folders, sorted(others)


def not_as_we_left_it(folder: Path) -> list[tuple[str, str]]:
    """(relative path, what is wrong) for everything in the folder that is not on its list, or differs from it."""
    marker = read_marker(folder) or Marker("")
    listed, _, others = sort_out(folder, marker)
    changed = [name for name in listed if not _is_as_listed(folder / name, marker.files[name])]
    return [(name, "was changed since") for name in changed] + [(name, "dpo-notes did not write") for name in others]


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits. It detects damage, not forgery: anybody can compute one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_as_listed(path: Path, checksum: str) -> bool:
    return stat.S_ISREG(path.lstat().st_mode) and sha256(path) == checksum
