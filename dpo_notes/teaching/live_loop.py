"""A loop in the background of a notebook: an asyncio task that takes row after row, with start, pause and reset."""

import asyncio
import weakref
from collections.abc import Callable, Iterator

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.wording import one_line

BREATH = 0.01  # seconds of sleep after each row, for clicks on buttons; with 0 a click may wait for several rows
MADE: "weakref.WeakSet[LiveLoop]" = weakref.WeakSet()


class LiveLoop:
    """Takes rows from an iterator, one at a time, and lets the event loop do its other work in between.

    begin: returns the iterator of a new run; it yields an empty row where it pauses without anything to show.
    changed: called after every row, and when the run ends or fails.
    `state` is "ready", "running", "paused", "ended" or "failed"; then `problem` says why. `rows` holds the rows so far.
    A new loop, as from running a notebook's cell again, pauses all earlier ones, so that none runs unseen.
    """

    def __init__(self, begin: Callable[[], Iterator[Row]], changed: Callable[[], None]):
        for other in [loop for loop in MADE if loop.state == "running"]:
            other.pause()
            other.changed()
        MADE.add(self)
        self.begin, self.changed = begin, changed
        self.iterator: Iterator[Row] | None = None
        self.task: asyncio.Task | None = None
        self.state = "ready"
        self.reset()

    def start(self) -> None:
        """Begin, or go on after a pause. Raises InputError if the run is over or if there is no event loop."""
        if self.state == "running":
            return
        if self.state in ("ended", "failed"):
            raise InputError("This run is over. Reset begins another one.")
        try:
            event_loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InputError("no event loop to run in; expected a notebook with a running kernel") from None
        self.iterator = self.iterator or self.begin()
        self.state = "running"
        self.task = event_loop.create_task(self._run(self.iterator))

    def pause(self) -> None:
        """Take no more rows; `start` goes on with the next one."""
        if self.state == "running":
            self.task.cancel()
            self.state = "paused"

    def reset(self) -> None:
        """Stop and drop all rows; `start` begins a new run."""
        self.pause()
        self.state, self.problem = "ready", ""
        self.rows: list[Row] = []
        self.iterator = self.task = None

    async def _run(self, iterator: Iterator[Row]) -> None:
        try:
            for row in iterator:  # blocks the event loop while one row is computed
                if row:
                    self.rows.append(row)
                self.changed()
                await asyncio.sleep(BREATH)  # a pause ends the task here
            self.state = "ended"
        except Exception as error:  # noqa: BLE001  the reader sees every error, not only a log
            self.state, self.problem = "failed", one_line(error)
        self.changed()
