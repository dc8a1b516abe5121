"""A training run that its caller drives: each row is trained when it is asked for."""

from collections.abc import Iterator

from dpo_notes.maths.rows import Row


class Training(Iterator[Row]):
    """The rows of a training run, one per optimizer step. Nothing is trained until you iterate over it or call `finish`."""

    def __init__(self, rows: Iterator[Row]):
        self._rows, self._begun = rows, False

    def __next__(self) -> Row:
        self._begun = True
        return next(self._rows)

    def finish(self) -> list[Row]:
        """Train to the end; returns the remaining rows."""
        return list(self)

    def close(self) -> None:
        """Stop here; the model keeps the weights of the last step."""
        self._rows.close()

    def __repr__(self) -> str:
        return "<training, begun>" if self._begun else "<training, not started: iterate over it, or call .finish()>"
