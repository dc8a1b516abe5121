"""A picture that is redrawn while a loop runs, and stays when the loop has ended."""

import time
from collections.abc import Callable, Iterable, Iterator

from IPython.display import display

from dpo_notes.maths.rows import Row


def watch(rows: Iterable[Row], draw: Callable[[list[Row]], object], *, seconds: float = 0.5) -> Iterator[Row]:
    """Each row of a training loop, as it comes; meanwhile `draw(rows so far)` is shown, and updated every `seconds`.

    The last update comes when the loop ends, breaks or fails; a notebook keeps this picture. Use it like a progress
    bar: `for row in watch(pretrain(…), draw): …`. draw: returns a `Picture`, or anything else that can be displayed.
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
