"""A picture that grows while a loop runs, and stays when the loop has ended."""

import time
from collections.abc import Callable, Iterable, Iterator

from IPython.display import display

from dpo_notes.maths.rows import Row


def watch(rows: Iterable[Row], draw: Callable[[list[Row]], object], *, seconds: float = 0.5) -> Iterator[Row]:
    """Each row of a training loop, as it comes; beside it stands `draw(rows so far)`, drawn anew every so many seconds.

    Drawn for the last time when the loop has ended, or was left: this picture is what a notebook keeps. Use it like a
    progress bar: `for row in watch(pretrain(…), draw): …`. draw: gives a `Picture`, or anything else that can be shown.
    """
    seen, handle, due = [], None, 0.0
    try:
        for row in rows:
            seen.append(row)
            if handle is None:
                handle = display(draw(seen), display_id=True)
                due = time.monotonic() + seconds
            elif time.monotonic() >= due:
                handle.update(draw(seen))
                due = time.monotonic() + seconds
            yield row
    finally:
        if handle is not None:
            handle.update(draw(seen))
