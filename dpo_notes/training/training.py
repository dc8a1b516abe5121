"""A training run as its caller holds it: rows to come, and a word for those who forget to ask for them."""

from collections.abc import Iterator

from dpo_notes.maths.rows import Row


class Training(Iterator[Row]):
    """The rows of a training run, one an optimizer step. Each is trained when it is asked for; before, nothing has happened.

    Iterate over it, or call `finish`.
    """

    def __init__(self, rows: Iterator[Row]):
        self._rows, self._begun = rows, False

    def __next__(self) -> Row:
        self._begun = True
        return next(self._rows)

    def finish(self) -> list[Row]:
        """Train to the end; all rows that were still to come."""
        return list(self)

    def close(self) -> None:
        """End the run here; the model stays as the last step left it."""
        self._rows.close()

    def __repr__(self) -> str:
        return "<training, begun>" if self._begun else "<training, not started: iterate over it, or call .finish()>"
