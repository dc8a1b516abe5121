"""Parquet files as rows, within limits: a kilobyte may say "a million times the letter a, in a hundred thousand rows".

The file's own description is checked before anything is decoded, and what was decoded is measured before it becomes
Python objects. The environment variable DPO_NOTES_DATA_TIMES raises all limits; every message names it.
"""

import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.bounded import memory_limit
from dpo_notes.pairs.wording import one_line

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch
    from pyarrow.parquet import ColumnChunkMetaData, FileMetaData, ParquetFile, RowGroupMetaData

T = TypeVar("T")
ROWS_AT_ONCE = 1024
BYTES_AT_ONCE = 32 * 2**20  # fewer rows are decoded at once if a long text may repeat in each
ROW_BYTES = 100_000_000  # of one row; the longest real texts, whole books, have a few million
MESSAGES_A_ROW = 10_000
TOTAL_BYTES = 4 * 10**9  # of all rows; 500,000 rows with three texts of 2,000 characters have 3 * 10**9
MOST_EXPANSION = 100  # times as large as the file; compressed text grows by 3 to 10
FREE_BYTES = 256 * 2**20  # any file may grow to this
VALUES_A_GROUP = 1_000_000, 20_000_000  # in any row group; in one with up to 100 values a row
STEP_BYTES = 3 * 2**29  # for decoding ROWS_AT_ONCE; pyarrow maps memory by the GiB, used or not
ROW_OBJECT, MESSAGE_OBJECT = 300, 200  # bytes of the objects around the texts
TIMES = "DPO_NOTES_DATA_TIMES"


class Meter:
    """Counts what comes out of one file, and raises InputError at the first limit that is passed.

    `total` counts a text each time it occurs; `made` counts repeats once, because the reader keeps one object.
    """

    def __init__(self, path: Path, rows: int, times: float | None):
        self.path, self.rows, self.times = path, rows, times_asked_for() if times is None else times
        self.most_made = max(MOST_EXPANSION * path.stat().st_size, FREE_BYTES)
        self.total = self.made = self.seen = 0
        self.kept: dict[str, str] = {}

    def check(self, came: float, most: float, what: str) -> None:
        """Raise InputError if `came` is more than `most`, times the factor that the user allows."""
        within(self.path, came, most, what, times=self.times)

    def check_facts(self, facts: "FileMetaData", columns: list[str]) -> None:
        """Check what the file says of itself, before anything is decoded."""
        unpacked = 0
        for number in range(facts.num_row_groups):
            group = facts.row_group(number)
            any_group, large_group = VALUES_A_GROUP
            most = max(any_group, group.num_rows, min(100 * group.num_rows, large_group))
            for leaf in _leaves(group, columns):
                self.check(leaf.num_values, most, f"values of {leaf.path_in_schema} in one row group")
                unpacked += leaf.total_uncompressed_size
        self.check(unpacked, self.most_made, "bytes once it is unpacked")

    def check_batch(self, batch: "RecordBatch") -> None:
        """Check what was decoded, before it becomes Python objects."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self.check(_longest_list(column), MESSAGES_A_ROW, f"messages in {name} of a row after row {self.seen}")
        if batch.nbytes > ROW_BYTES * min(1.0, self.times):
            for index in range(batch.num_rows):
                self.check(batch.slice(index, 1).nbytes, ROW_BYTES, f"bytes in row {self.seen + index + 1}")
        self.total += batch.nbytes
        self.seen += batch.num_rows
        self.check(self.total, TOTAL_BYTES, "bytes of text")
        if self.total > FREE_BYTES:
            self.check(self.total * self.rows / self.seen, 4 * TOTAL_BYTES, "bytes of text, if it goes on as it begins")

    def within_memory(self, call: Callable[[], T]) -> T:
        """What `call()` returns. The last resort, on Linux, against what the file does not say of itself."""
        try:
            with memory_limit(int(STEP_BYTES * self.times)):
                return call()
        except MemoryError:  # pyarrow's own is a subclass
            raise InputError(
                f"{self.path}: holds more than {STEP_BYTES * self.times / 2**30:g} GiB in a few rows after row "
                f"{self.seen}; expected less (if the file is right, set {TIMES}={2 * math.ceil(self.times)})"
            ) from None

    def keep(self, value: object) -> object:
        """The value, where each text seen before is the same object; counts what is new."""
        if isinstance(value, str):
            known = self.kept.setdefault(value, value)
            self.made += len(value) if known is value else 0
            return known
        if isinstance(value, list):
            return [self.keep(item) for item in value]
        if isinstance(value, dict):
            return {name: self.keep(item) for name, item in value.items()}
        return value


def within(path: Path, came: float, most: float, what: str, *, times: float | None = None) -> None:
    """Raise InputError if a file holds more than `most` times `times`; the message says how to allow it."""
    if came <= most and times is None:  # the usual case, without reading the environment
        return
    times = times_asked_for() if times is None else times
    if came > most * times:
        raise InputError(
            f"{path}: holds {came:,.0f} {what}; expected at most {most * times:,.0f} (if the file is right, set "
            f"{TIMES}={2 ** math.ceil(math.log2(came / most))})"
        )


def times_asked_for() -> float:
    """The factor on all limits, from the environment variable DPO_NOTES_DATA_TIMES; 1 if it is not set."""
    asked = os.environ.get(TIMES, "1")
    try:
        times = float(asked)
    except ValueError:
        times = math.nan
    if not 0 < times < math.inf:
        raise InputError(f"{TIMES} is {asked!r:.40}; expected a finite number above 0")
    return times


def parquet_rows(
    path: Path,
    file: BinaryIO,
    columns: tuple[str, ...],
    *,
    check_names: Callable[[list[str]], None],
    times: float | None = None,
) -> Iterator[tuple[int, dict]]:
    """(row number from 1, its columns) of an open Parquet file, only `columns` if it has chosen and rejected.

    `times`: the factor on all limits; by default DPO_NOTES_DATA_TIMES.
    Raises InputError for what is not a whole Parquet file, for text that is not UTF-8, and at the first limit passed.
    """
    try:
        from pyarrow import ArrowException, allocate_buffer
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow; install it with: pip install datasets") from error
    allocate_buffer(1)  # pyarrow maps its first GiB, of which it uses little, before memory is limited
    number = 0
    try:
        table = ParquetFile(file, pre_buffer=False)  # which would start threads, and each maps much memory
        names = table.schema_arrow.names
        check_names(names)
        # Other columns may be large, or of types that Python lacks. Without both responses, the error lists them all.
        read = [name for name in names if name in columns] if {"chosen", "rejected"} <= set(names) else names
        meter = Meter(path, table.metadata.num_rows, times)
        meter.check_facts(table.metadata, read)
        for group in range(table.metadata.num_row_groups):
            for row in _group_rows(table, group, read, meter):
                number += 1
                yield number, row
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, row {number + 1}: not valid UTF-8 ({error.reason}); expected UTF-8 text") from error
    except (ArrowException, OSError) as error:
        raise InputError(f"{path}: broken Parquet ({one_line(error)}); expected a whole Parquet file") from error


def _group_rows(table: "ParquetFile", group: int, columns: list[str], meter: Meter) -> Iterator[dict]:
    facts = table.metadata.row_group(group)
    encoded = sum(leaf.total_uncompressed_size for leaf in _leaves(facts, columns)) / max(1, facts.num_rows)
    rows_at_once = meter.within_memory(partial(_rows_at_once, meter.path, facts, group, columns))
    batches = table.iter_batches(rows_at_once, row_groups=[group], columns=columns, use_threads=False)
    while (batch := meter.within_memory(lambda: next(batches, None))) is not None:
        meter.check_batch(batch)
        repeats = batch.nbytes > 4 * encoded * batch.num_rows
        meter.made += ROW_OBJECT * batch.num_rows + (0 if repeats else batch.nbytes)
        meter.made += MESSAGE_OBJECT * sum(map(_list_items, batch.columns))
        meter.check(meter.made, meter.most_made, "bytes, with texts that repeat counted once")
        for row in meter.within_memory(partial(_as_objects, batch)):
            yield meter.keep(row) if repeats else row


def _rows_at_once(path: Path, facts: "RowGroupMetaData", group: int, columns: list[str]) -> int:
    """How many rows fit into BYTES_AT_ONCE, even if each has the longest text of the group's dictionary."""
    from pyarrow.parquet import ParquetFile

    texts = [leaf for leaf in _leaves(facts, columns) if leaf.physical_type == "BYTE_ARRAY"]
    rows = max(1, min(ROWS_AT_ONCE, facts.num_rows))
    size = sum(leaf.total_uncompressed_size for leaf in texts)
    if size * rows <= BYTES_AT_ONCE:
        return rows
    with ParquetFile(path, pre_buffer=False, read_dictionary=[leaf.path_in_schema for leaf in texts]) as table:
        first = next(table.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False))
    longest = sum(_longest_in_dictionary(column) or size for column in first.columns)
    return max(1, min(rows, BYTES_AT_ONCE // max(1, longest, size // max(1, facts.num_rows))))


def _leaves(group: "RowGroupMetaData", columns: list[str]) -> Iterator["ColumnChunkMetaData"]:
    for number in range(group.num_columns):
        leaf = group.column(number)
        if leaf.path_in_schema.split(".")[0] in columns:
            yield leaf


def _longest_in_dictionary(column: "Array") -> int:
    """Bytes of the longest text that one row could repeat; 0 where no row so far had one."""
    from pyarrow import compute, types

    if types.is_dictionary(column.type):
        return compute.max(compute.binary_length(column.dictionary)).as_py() or 0
    if types.is_struct(column.type):
        return sum(map(_longest_in_dictionary, column.flatten()))
    return _longest_in_dictionary(column.flatten()) if _is_list(column) else 0


def _is_list(column: "Array") -> bool:
    from pyarrow import types

    return types.is_list(column.type) or types.is_large_list(column.type)


def _longest_list(column: "Array") -> int:
    from pyarrow import compute

    return compute.max(compute.list_value_length(column)).as_py() or 0 if _is_list(column) else 0


def _list_items(column: "Array") -> int:
    return len(column.flatten()) if _is_list(column) else 0


def _as_objects(batch: "RecordBatch") -> list[dict] | Iterator[dict]:
    """The rows of a batch. If a text is not UTF-8, the rows before it come first."""
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        return (batch.slice(index, 1).to_pylist()[0] for index in range(batch.num_rows))
