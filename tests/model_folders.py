"""Ways to change a model folder, each a function of the folder."""

import json
from collections.abc import Callable
from pathlib import Path

Change = Callable[[Path], object]


def edit(name: str, **changes: object) -> Change:
    """Sets these entries of a JSON file, which need not exist."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(content | changes))

    return change


def write(name: str, content: str) -> Change:
    """Puts this text in place of a file."""
    return lambda folder: (folder / name).write_text(content)
