"""Every folder that we write goes through here: is it ours, and what may we replace in it?

We take a folder if it does not exist, if it is empty, or if it carries our marker, MARKER, with the same maker.
We remove only files that we wrote and that have not changed since.
"""

import os
import shutil
import stat
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from dpo_notes.maths.errors import InputError
from dpo_notes.training.folder_marker import (
    MARKER,
    Marker,
    is_begun,
    not_as_we_left_it,
    read_marker,
    sha256,
    sort_out,
    write_marker,
)

MAKERS = {  # what a folder holds, by the maker in its marker; the maker of a part is already a description
    "run": "a training run",
    "frontier": "a frontier",
    "world": "an embedded world",
    "slides": "decks",
    "student": "a student copy",
    "site": "a website",
    "lab": "a copy of the notebooks",
}
UNFINISHED = "an unfinished folder"  # the maker of a folder that is still being filled


def check_folder(path: str | Path, *, maker: str) -> Path:
    """The folder that `path` leads to, all links followed, checked: we may write there. Changes nothing.

    Raises InputError if anything but an empty folder or one made by `maker` is there, and if our folder contains a
    link: writing through it would overwrite somebody's file.
    """
    try:
        folder = _real_place(path)
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        if names and not is_begun(folder, names, maker):
            _check_ours(path, folder, names, maker)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: {getattr(error, 'strerror', None) or 'not a valid path on this system'}; "
            "expected a folder that we can read"
        ) from error
    return folder


def take_folder(path: str | Path, *, maker: str) -> Path:
    """The same folder, created if needed, with our marker in it. Raises InputError as `check_folder` does."""
    folder = check_folder(path, maker=maker)
    folder.mkdir(parents=True, exist_ok=True)
    if read_marker(folder) is None:
        write_marker(folder, Marker(maker))
    return folder


def check_replaceable(path: str | Path, *, maker: str) -> Path:
    """The folder that `path` leads to, checked: `atomic_folder` may replace all of it. Changes nothing.

    Raises InputError as `check_folder` does, and if a file in it is not on its list, or has changed since we wrote it.
    """
    folder = check_folder(path, maker=maker)
    places, aside = [folder, _old(folder)], _aside(folder)
    if (read_marker(aside) or Marker(UNFINISHED)).maker == maker:
        places.append(aside)  # complete, but we were killed before moving it
    else:
        check_folder(aside, maker=UNFINISHED)
    for place in places:
        check_folder(place, maker=maker)
        if lost := not_as_we_left_it(place):
            more = f" (and {len(lost) - 1} more)" * (len(lost) > 1)
            raise InputError(
                f"{_named(path, folder)} would be replaced, and {place / lost[0][0]}, which {lost[0][1]}{more}, "
                "would be lost; expected only what dpo-notes wrote there: move it away, or give another folder"
            )
    return folder


class atomic_folder:
    """`with atomic_folder(path, maker=…) as folder:` fills a temporary folder and moves it to `path` if all went well.

    The marker lists the files that were written, with their sha256. An older folder at `path` is replaced if
    `check_replaceable` allows it; we check before anything is written and again at the end.
    Raises InputError if it does not, and OSError if writing fails; either way the temporary folder is removed.
    """

    def __init__(self, path: str | Path, *, maker: str):
        self.path, self.maker = check_replaceable(path, maker=maker), maker
        self.aside, self.old = _aside(self.path), _old(self.path)

    def __enter__(self) -> Path:
        self._settle_old()
        if self.aside.exists():
            shutil.rmtree(self.aside)  # its marker says that a killed attempt left it
        return take_folder(self.aside, maker=UNFINISHED)

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
        if isinstance(error, SafetensorError):  # what safetensors raises for a full disk, among others
            raise OSError(f"{self.path}: {error}") from error

    def _finish(self) -> None:
        written = {path.relative_to(self.aside).as_posix(): path for path in self.aside.rglob("*") if path.is_file()}
        checksums = {name: sha256(written[name]) for name in sorted(written) if name != MARKER}
        check_replaceable(self.path, maker=self.maker)
        _remove_empty(path for path in self.aside.rglob("*") if path.is_dir())
        write_marker(self.aside, Marker(self.maker, checksums))
        sync(self.aside)
        if self.path.exists():
            os.rename(self.path, self.old)
        os.rename(self.aside, self.path)
        self._settle_old()

    def _settle_old(self) -> None:
        """Remove the folder that was replaced; if we were killed before its successor was in place, put it back."""
        if not self.old.exists():
            return
        if not self.path.exists():
            os.rename(self.old, self.path)
            return
        _remove_ours(self.old)
        if self.old.exists():
            warnings.warn(f"{self.old} holds files that dpo-notes did not write; it was not removed", stacklevel=3)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """`with replaced_file(path) as aside:` fills a temporary file and moves it to `path`; a link there is replaced."""
    aside = path.with_name(f".{path.stem}.writing{path.suffix}")
    aside.unlink(missing_ok=True)
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Flush every file in the folder and below to disk."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())


def _named(path: str | Path, folder: Path) -> str:
    """What the user typed, and where it leads if that differs."""
    typed = Path(path)
    return str(path) if typed.absolute() == folder else f"{path} (which is {folder})"


def _real_place(path: str | Path) -> Path:
    typed = Path(path).absolute()
    for place in (typed, *typed.parents):
        if place.is_symlink() and not place.exists():
            target = os.readlink(place)
            raise InputError(f"{path}: {place} is a link to {target}, which does not exist; expected a folder")
    folder = typed.resolve()
    there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise InputError(f"{_named(path, folder)}: {there} is not a folder; expected a folder, or an unused name")
    return folder


def _check_ours(path: str | Path, folder: Path, names: list[str], maker: str) -> None:
    marker = read_marker(folder)
    expected = f"expected a new folder, an empty one, or one that holds {MAKERS.get(maker, maker)} made by dpo-notes"
    if marker is None:
        first = next((name for name in names if name != MARKER), MARKER)
        raise InputError(f"{_named(path, folder)} holds {first}, and nothing says that dpo-notes made it; {expected}")
    if marker.maker != maker:
        other = MAKERS.get(marker.maker, marker.maker)
        raise InputError(f"{_named(path, folder)} holds {other!r:.60}; {expected}")
    for name in names:
        mode = (folder / name).lstat().st_mode
        if stat.S_ISLNK(mode):
            raise InputError(
                f"{folder / name} is a link to {os.readlink(folder / name)}, which could be overwritten; "
                "expected no link in a folder that dpo-notes made: remove it, or give another folder"
            )
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(f"{folder / name} is neither a file nor a folder; expected one of them: remove it")


def _aside(folder: Path) -> Path:
    """Where we fill a folder."""
    return folder.with_name(f".{folder.name}.writing")


def _old(folder: Path) -> Path:
    """Where the previous folder waits while a new one takes its place."""
    return folder.with_name(f".{folder.name}.old")


def _remove_ours(folder: Path) -> None:
    """Remove the files on the folder's list and then empty folders; if nothing else is left, marker and folder too."""
    marker = read_marker(folder) or Marker("")
    listed, folders, others = sort_out(folder, marker)
    for name in listed:
        (folder / name).unlink()
    _remove_empty(folder / name for name in folders)
    if not others:
        (folder / MARKER).unlink(missing_ok=True)
        folder.rmdir()


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        with suppress(OSError):
            folder.rmdir()
