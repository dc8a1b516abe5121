"""The marker in every folder that we write: who made it, and where all of it may be replaced, the checksum of each file."""

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
    """Who made a folder; for one that is replaced as a whole also the sha256 of each file, by its path in the folder."""

    maker: str
    files: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """What stands in the marker file."""
        return json.dumps({"made_by": self.maker} | ({"files": self.files} if self.files else {}), indent=0) + "\n"


def read_marker(folder: Path) -> Marker | None:
    """The marker of a folder; None where there is none, or what stands in its place is damaged or no file."""
    path = folder / MARKER
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_MARKER:
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
        maker, files = said["made_by"], said.get("files", {})
        whole = isinstance(maker, str) and all(isinstance(checksum, str) for checksum in files.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return Marker(maker, files) if whole else None


def write_marker(folder: Path, marker: Marker) -> None:
    """Put the marker into the folder, in one move."""
    aside = folder / MARKER_ASIDE
    aside.write_bytes(marker.text.encode())
    os.replace(aside, folder / MARKER)


def is_begun(folder: Path, names: list[str], maker: str) -> bool:
    """Whether a folder that holds these names has nothing but the beginning of our marker: a kill came meanwhile."""
    aside = folder / MARKER_ASIDE
    if names != [MARKER_ASIDE] or not stat.S_ISREG(aside.lstat().st_mode):
        return False
    whole = Marker(maker).text.encode()
    return aside.stat().st_size <= len(whole) and whole.startswith(aside.read_bytes())


def sort_out(folder: Path, marker: Marker) -> tuple[list[str], list[str], list[str]]:
    """(listed files that are there, the folders that hold them, all else but the marker), as paths in the folder.

    It does not look into the folders of others, and names nothing outside, whatever the list says.
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
    """(path in the folder, what is the matter) of all that the folder's list does not hold, or holds otherwise."""
    marker = read_marker(folder) or Marker("")
    listed, _, others = sort_out(folder, marker)
    changed = [name for name in listed if not _is_as_listed(folder / name, marker.files[name])]
    return [(name, "was changed since") for name in changed] + [(name, "dpo-notes did not write") for name in others]


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal digits. It finds damage, not forgery: anybody can make one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_as_listed(path: Path, checksum: str) -> bool:
    return stat.S_ISREG(path.lstat().st_mode) and sha256(path) == checksum
