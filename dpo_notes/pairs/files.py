"""Data files as rows, each with its place ("FILE, line N" or "FILE, row N"): JSON Lines, JSON, CSV and Parquet."""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.parquet import ROW_BYTES, TOTAL_BYTES, parquet_rows, times_asked_for, within
from dpo_notes.pairs.wording import kind_of, listed, one_line

COLUMNS = ("prompt", "chosen", "rejected")
KINDS = (".jsonl", ".json", ".csv", ".parquet")
LINE_BYTES = ROW_BYTES  # of a line; and of a field of a .csv file, where the csv module's own limit is 131,072
MESSAGES_AS_TEXT = re.compile(r"""\s*\[\s*\{\s*['"](role|content)['"]\s*:""")


class FileRow(NamedTuple):
    """One row of a file, numbered from 1.

    `value` is what was read, not yet checked. For a line that cannot be read, while the lines after it can, it is an
    InputError that says why: the reader goes on, and the caller decides whether to stop.
    """

    place: str
    value: object


def read_rows(path: Path, *, parquet_times: float | None = None) -> Iterator[FileRow]:
    """The rows of a file, read by the suffix of its name; text is UTF-8, with or without a byte-order mark.

    `.jsonl`: one object a line; blank lines are skipped and still counted. `.json`: a list of objects, counted as rows.
    `.csv`: a header, then rows of text, blank lines skipped; the place is the line on which the row starts.
    `.parquet`: read by pyarrow, which comes with the package `datasets`; columns other than COLUMNS are not decoded,
    and the unpacked size is limited. `parquet_times` raises these limits (see `parquet_rows`).
    Raises InputError for another suffix, for what cannot be opened or is not a file (a pipe, a device), for a line of
    more than LINE_BYTES, and for damage that hides the rows after it.
    """
    readers = {".jsonl": _jsonl_rows, ".json": _json_rows, ".csv": _csv_rows}
    readers[".parquet"] = partial(_parquet_rows, times=parquet_times)
    kind = path.suffix.lower()
    if kind not in readers:
        raise InputError(f"{path}: the name ends in {kind!r}; expected one of {', '.join(KINDS)}")
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: not a regular file; expected one, not a pipe or a device")
    try:
        yield from readers[kind](path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)}); expected a readable file") from error


def find_file(folder: Path, split: str) -> Path:
    """The one file of a folder that holds a split: `train.jsonl` for "train", or another of KINDS.

    Raises InputError where there is none (and lists the files found) or more than one.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({one_line(error)}); expected a readable folder") from error
    found = [split + kind for kind in KINDS if split + kind in names]
    if len(found) != 1:
        came = f"more than one file, {listed(found)}," if found else "no file"
        expected = f"one of {', '.join(split + kind for kind in KINDS)}"
        raise InputError(f"{folder}: {came} for the split {split!r}; found: {listed(names)}; expected {expected}")
    return folder / found[0]


def _jsonl_rows(path: Path) -> Iterator[FileRow]:
    with path.open("rb") as file:
        for number, line in enumerate(_lines(path, file), start=1):
            if line.strip():
                yield FileRow(f"{path}, line {number}", _jsonl_value(path, line.rstrip(), number))


def _jsonl_value(path: Path, line: bytes, number: int) -> object:
    try:
        return _parse_json(path, line, number, "one object on the line")
    except InputError as error:
        return error


def _json_rows(path: Path) -> Iterator[FileRow]:
    within(path, path.stat().st_size, TOTAL_BYTES, "bytes, read at once (a .jsonl file is read line by line)")
    data = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    if not data.strip():
        return
    expected = "a list of objects in the file (one object on each line is a .jsonl file)"
    values = _parse_json(path, data, 1, expected)
    if not isinstance(values, list):
        raise InputError(f"{path}: holds {kind_of(values)}; expected {expected}")
    for number, value in enumerate(values, start=1):
        yield FileRow(f"{path}, row {number}", value)


def _csv_rows(path: Path) -> Iterator[FileRow]:
    earlier_limit = csv.field_size_limit(int(LINE_BYTES * times_asked_for()))
    start = 1
    try:
        with path.open("rb") as file:
            damage: list[InputError] = []  # in the lines of the row that is being read
            # strict, because a forgotten quote must not swallow the rest of the file
            reader = csv.reader(_csv_lines(path, file, damage), strict=True)
            header = next((fields for fields in reader if fields), [])
            if damage:
                raise damage[0]
            _check_names_once(path, header)
            start = reader.line_num + 1
            for fields in reader:
                if fields:
                    place = f"{path}, line {start}"
                    yield FileRow(place, damage[0] if damage else _csv_value(place, header, fields))
                damage.clear()
                start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {start}: broken CSV in the row that starts here ({error}); expected commas, and double "
            "quotes around a text with commas, line breaks or quotes (each written twice)"
        ) from error
    finally:
        csv.field_size_limit(earlier_limit)


def _csv_lines(path: Path, file: BinaryIO, damage: list[InputError]) -> Iterator[str]:
    """Lines as text. If a line is not UTF-8, `damage` gets the error, and the line keeps its commas and quotes."""
    for number, line in enumerate(_lines(path, file), start=1):
        try:
            yield _decode(path, line, number)
        except InputError as error:
            damage.append(error)
            yield line.decode("utf-8", "replace")


def _csv_value(place: str, header: list[str], fields: list[str]) -> dict[str, str] | InputError:
    if len(fields) != len(header):
        return InputError(f"{place}: field count {len(fields)}; expected {len(header)}, as in the header")
    row = dict(zip(header, fields, strict=True))
    for name in COLUMNS:
        if MESSAGES_AS_TEXT.match(row.get(name, "")):
            return InputError(
                f"{place}: {name} holds chat messages written as text, since a .csv file can hold nothing else; "
                "expected plain text, or chat messages in a .jsonl, .json or .parquet file"
            )
    return row


def _parquet_rows(path: Path, times: float | None) -> Iterator[FileRow]:
    with path.open("rb") as file:
        check_names = partial(_check_names_once, path)
        for number, value in parquet_rows(path, file, COLUMNS, check_names=check_names, times=times):
            yield FileRow(f"{path}, row {number}", value)


def _check_names_once(path: Path, names: list[str]) -> None:
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: more than one column {twice[0]!r}; found: {listed(names)}; expected one")


def _lines(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Lines without byte-order mark. Only a line feed ends one: a text may contain U+2028 and similar characters."""
    most = int(LINE_BYTES * times_asked_for())
    number = 0
    while line := file.readline(most + 1):
        number += 1
        within(path, len(line), LINE_BYTES, f"bytes or more in line {number}")
        yield line if number > 1 else line.removeprefix(codecs.BOM_UTF8)


def _decode(path: Path, data: bytes, first_line: int) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        byte = error.start - data.rfind(b"\n", 0, error.start)
        raise InputError(
            f"{path}, line {line}: not valid UTF-8 ({error.reason}: 0x{data[error.start]:02x}, byte {byte} of the "
            "line); expected UTF-8 text"
        ) from error


def _parse_json(path: Path, data: bytes, first_line: int, expected: str) -> object:
    text = _decode(path, data, first_line)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {first_line + error.lineno - 1}: broken JSON at column {error.colno} ({error.msg})"
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; thousands of nested brackets
        where = f"line {first_line}: JSON beyond what can be read ({one_line(error)})"
    raise InputError(f"{path}, {where}; expected {expected}")
