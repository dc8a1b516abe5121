"""A loop that runs while the reader goes on: row after row in an asyncio task, which buttons start, pause and reset."""

import asyncio
import weakref
from collections.abc import Callable, Iterator

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.wording import one_line

BREATH = 0.01  # seconds after each row, in which buttons are heard; with a sleep of 0 a click may wait for several rows
MADE: "weakref.WeakSet[LiveLoop]" = weakref.WeakSet()


class LiveLoop:
    """Takes rows from an iterator, one at a time, and between two of them lets the event loop do its other work.

    begin: gives the iterator of a new run; an empty row from it means that work goes on without anything to show.
    changed: called after every row, and when the state has changed by itself.
    `state` is "ready", "running", "paused", "ended" or "failed"; then `problem` says why. `rows` holds what came.
    Making another one, as running a notebook's cell again does, pauses those made before: none is left running unseen.
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
        """Begin, or go on after a pause. Raises InputError for a run that is over, and where there is no event loop."""
        if self.state == "running":
            return
        if self.state in ("ended", "failed"):
            raise InputError("This run is over. Reset begins another one.")
        try:
            event_loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InputError("nothing here can run in between; expected a notebook with a running kernel") from None
        self.iterator = self.iterator or self.begin()
        self.state = "running"
        self.task = event_loop.create_task(self._run(self.iterator))

    def pause(self) -> None:
        """No more rows; `start` goes on with the next one."""
        if self.state == "running":
            self.task.cancel()
            self.state = "paused"

    def reset(self) -> None:
        """No more rows, and none kept; `start` begins anew."""
        self.pause()
        self.state, self.problem = "ready", ""
        self.rows: list[Row] = []
        self.iterator = self.task = None

    async def _run(self, iterator: Iterator[Row]) -> None:
        try:
            for row in iterator:  # this blocks the event loop for as long as one row takes, and no longer
                if row:
                    self.rows.append(row)
                self.changed()
                await asyncio.sleep(BREATH)  # a pause ends the task here
            self.state = "ended"
        except Exception as error:  # noqa: BLE001  whatever goes wrong in training is said to the reader, not to a log
            self.state, self.problem = "failed", one_line(error)
        self.changed()
