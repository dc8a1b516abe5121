"""The notebooks that a class returned: whose they are, which of the series, and the code in them. Nothing is executed."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.exercises.checking import FILES

STEM = re.compile(rf"(\d\d)_(?:{'|'.join(FILES.values())})")
CHECK = re.compile(r"\bcheck\(\s*[\"'](\d\d)\.\d+[\"']")
LARGEST = 64 * 2**20  # bytes of a notebook; those of the series have less than one million


@dataclass(frozen=True)
class Submission:
    """One returned notebook.

    who: the folder that it was returned in, or else what its file name says beside the notebook's. file: its path below
    the class's folder. number: "06"; empty where it is no notebook of the series. cells: (id, source) of its code, in
    order. problem: why there is nothing to run; empty where there is.
    """

    who: str
    file: str
    number: str
    cells: tuple[tuple[str, str], ...] = ()
    problem: str = ""


def submissions(folder: Path) -> Iterator[Submission]:
    """Every .ipynb in `folder` and the folders in it, sorted by path; all are read before the first one is given.

    So no notebook that runs can change another one. Raises InputError where there is no folder, or no notebook in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; expected one with returned notebooks")
    paths = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not paths:
        raise InputError(f"no notebook (*.ipynb) in {folder}")
    return iter([read_submission(path, folder) for path in paths])


def read_submission(path: Path, folder: Path) -> Submission:
    """The submission in the file at `path`, which stands somewhere below `folder`; a broken one says why it is."""
    below = path.relative_to(folder)
    named = STEM.search(path.stem)
    cells, problem = (), ""
    try:
        cells = tuple(_code_cells(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"not a notebook that can be read: {error or type(error).__name__}"
    asked = Counter(number for _, source in cells for number in CHECK.findall(source) if number in FILES)
    number = asked.most_common(1)[0][0] if asked else named[1] if named else ""
    if not problem and not asked:
        problem = "no check(…) of an exercise of the series stands in it"
    if len(below.parts) > 1:
        who = below.parts[0]
    else:
        who = (path.stem[: named.start()] if named else "").strip("_- .") or path.stem
    return Submission(who=who, file=below.as_posix(), number=number, cells=cells, problem=problem)


def _code_cells(path: Path) -> Iterator[tuple[str, str]]:
    if not path.is_file():
        raise ValueError("not a file")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MiB")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for place, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            source = cell["source"]  # one string, or a list of lines
            yield str(cell.get("id", f"cell {place}")), source if isinstance(source, str) else "".join(source)
