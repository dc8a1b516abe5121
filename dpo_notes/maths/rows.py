"""A row of metrics by name: the results of one training step or of one evaluation."""

from collections.abc import Mapping, Sequence

Row = dict[str, float]
Rows = Sequence[Mapping[str, float]]
