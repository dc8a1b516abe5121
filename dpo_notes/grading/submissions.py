"""The notebooks that a class returned: student, number in the series, and code. Nothing is executed."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.checking import LESSONS

STEM = re.compile(rf"(\d\d)_(?:{'|'.join(LESSONS.values())})")
CHECK = re.compile(r"\bcheck\(\s*[\"'](\d\d)\.\d+[\"']")
LARGEST, LARGEST_CODE = 16 * 2**20, 1_000_000  # bytes of a notebook, characters of its code; ours: 0.8 MB, 24,509
DEEPEST, MOST = 16, 64  # nested folders, notebooks in one student's folder


@dataclass(frozen=True)
class Submission:
    """One returned notebook.

    who: the student's folder, or else what the file name adds to the notebook's name. file: its path in the class's
    folder. number: "06"; empty if it is not a notebook of the series. cells: (id, source) of its code, in order.
    problem: why we cannot run it; empty if we can.
    """

    who: str
    file: str
    number: str = ""
    cells: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def submissions(folder: Path) -> list[Submission]:
    """Every .ipynb in `folder` and its subfolders, sorted by path. We follow no link and read no file twice.

    What we cannot mark is a submission with a problem, even a student's folder without a notebook: nobody is missing.
    Raises InputError if we cannot read the folder, or if it has no notebook.
    """
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; expected a folder with returned notebooks") from error
    found, count = [], Counter()
    for path, problem in sorted(_walk(folder)):
        below = path.relative_to(folder)
        student = below.parts[0] if len(below.parts) > 1 else ""
        count[below.parts[0]] += 1
        if student and count[student] > MOST:
            problem = f"this folder holds more than {MOST} notebooks; we do not read the others"
        if not student or count[student] <= MOST + 1:
            one = Submission(student or path.stem, below.as_posix(), problem=problem)
            found.append(one if problem else _read(path, one))
    missing = sorted(entry.name for entry in entries if entry.name not in count and not entry.name.endswith(".csv"))
    found += [Submission(name, name, problem="no notebook (*.ipynb)") for name in missing]
    if not any(one.problem != "no notebook (*.ipynb)" for one in found):
        raise InputError(f"no notebook (*.ipynb) in {folder}")
    return found


def _walk(top: Path) -> Iterator[tuple[Path, str]]:
    """(path, "") of every notebook below `top`, and (path, problem) of each folder that we cannot read."""
    waiting = [top]  # no recursion: a thousand nested folders do no harm
    while waiting:
        place = waiting.pop()
        try:
            if len(place.parts) - len(top.parts) > DEEPEST:
                raise ValueError(f"more than {DEEPEST} nested folders")
            with os.scandir(place) as entries:
                inside = [(Path(one.path), one.is_symlink(), one.is_dir(follow_symlinks=False)) for one in entries]
        except (OSError, ValueError) as error:
            yield place, f"not a readable folder: {error}"
            continue
        for path, is_link, is_folder in inside:
            if is_folder:
                waiting += [path] * (path.name != ".ipynb_checkpoints")
            elif is_link or path.suffix.lower() == ".ipynb":
                yield path, "a link, which we do not follow" * is_link


def _read(path: Path, one: Submission) -> Submission:
    """The submission in the file at `path`, or why we cannot mark it."""
    named = STEM.search(path.stem)
    cells, problem = (), ""
    try:
        if path.stat().st_nlink > 1:
            raise ValueError("a link: the file has a second name; hand in a copy")
        cells = tuple(_code_cells(path))
        if sum(len(source) for _, source in cells) > LARGEST_CODE:
            raise ValueError(f"its code has more than {LARGEST_CODE:,} characters")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"not a readable notebook: {error or type(error).__name__}"
    asked = Counter(number for _, source in cells for number in CHECK.findall(source) if number in LESSONS)
    number = asked.most_common(1)[0][0] if asked else named[1] if named else ""
    if not problem and not number:
        problem = "it has no check(…) of an exercise of the series"
    prefix = path.stem[: named.start()].strip("_- .") if named and "/" not in one.file else ""
    return replace(one, who=prefix or one.who, number=number, cells=cells, problem=problem)


def _code_cells(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        raise ValueError("not a file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MiB")
    notebook = json.loads(path.read_text(encoding="utf-8-sig"))
    for place, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            source = cell["source"]  # one string, or a list of lines
            yield str(cell.get("id", place)), source if isinstance(source, str) else "".join(source)
