"""A row of metrics: what one step of training, or one evaluation, came to, by name."""

from collections.abc import Mapping, Sequence

Row = dict[str, float]
Rows = Sequence[Mapping[str, float]]
