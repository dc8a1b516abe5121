"""Files as rows: the place of each row is right, and damage is reported in one line."""

import csv
import json

import pyarrow
import pyarrow.parquet
import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.files import FileRow, find_file, read_rows

ROW = b'{"chosen": "a", "rejected": "b"}'


def rows_of(path, data: bytes) -> list[FileRow]:
    path.write_bytes(data)
    return list(read_rows(path))


def message_of(path, data: bytes) -> str:
    """The one error that a file gives, without the folder: raised, or standing in place of a row."""
    path.write_bytes(data)
    try:
        errors = [str(row.value) for row in read_rows(path) if isinstance(row.value, InputError)]
    except InputError as error:
        errors = [str(error)]
    assert len(errors) == 1 and "\n" not in errors[0]
    return errors[0].removeprefix(f"{path.parent}/")


def test_jsonl_counts_blank_lines_and_skips_them(tmp_path):
    """Lines 1, 2 (blank), 3 (spaces), 4: there are rows on lines 1 and 4. The last line needs no line feed."""
    path = tmp_path / "a.jsonl"
    rows = rows_of(path, ROW + b"\r\n\n  \t\n" + ROW)
    assert rows == [FileRow(f"{path}, line {number}", {"chosen": "a", "rejected": "b"}) for number in (1, 4)]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line_of_jsonl(tmp_path, separator):
    """Python's str.splitlines would break at each of these; in JSON some may occur unescaped."""
    text = f"before{separator}after"
    spelled = json.dumps(text, ensure_ascii=separator < " ")
    [row] = rows_of(tmp_path / "a.jsonl", f'{{"chosen": {spelled}}}\n'.encode())
    assert row.value == {"chosen": text}


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.jsonl", ROW), ("a.json", b"[" + ROW + b"]"), ("a.csv", b"chosen,rejected\na,b\n"), ("a.JSONL", ROW)],
)
def test_a_byte_order_mark_changes_nothing(tmp_path, name, data):
    plain, marked = rows_of(tmp_path / name, data), rows_of(tmp_path / name, b"\xef\xbb\xbf" + data)
    assert plain == marked and plain[0].value == {"chosen": "a", "rejected": "b"}


def test_a_line_of_ten_megabytes_is_a_row_like_any_other(tmp_path):
    long = "x" * 10_000_000
    assert rows_of(tmp_path / "a.jsonl", json.dumps({"chosen": long}).encode())[0].value == {"chosen": long}
    assert rows_of(tmp_path / "a.csv", f'chosen\n"{long}"\n'.encode())[0].value == {"chosen": long}


def test_reading_csv_leaves_the_field_limit_of_the_process_as_it_was(tmp_path):
    before = csv.field_size_limit(123_456)
    rows_of(tmp_path / "a.csv", b"chosen,rejected\na,b\n")
    message_of(tmp_path / "b.csv", b'chosen,rejected\n"a,b\n')
    assert csv.field_size_limit(before) == 123_456


def test_a_csv_row_is_placed_where_it_starts(tmp_path):
    """Line 1 header; 2 to 3 the first row, which has a line break in a text; 4 blank; 5 the second row."""
    rows = rows_of(tmp_path / "a.csv", b'chosen,rejected\n"a\r\nb",c\n\nd,e\n')
    assert [(row.place[-6:], row.value["chosen"]) for row in rows] == [("line 2", "a\r\nb"), ("line 5", "d")]


def test_json_and_parquet_count_rows(tmp_path):
    rows = rows_of(tmp_path / "a.json", b"[{}, {},\n\n 3]")
    assert [row.place[-5:] for row in rows] == ["row 1", "row 2", "row 3"] and rows[2].value == 3
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"chosen": ["a", None], "rejected": ["b", "c"]}), path)
    expected = [{"chosen": "a", "rejected": "b"}, {"chosen": None, "rejected": "c"}]
    assert list(read_rows(path)) == [FileRow(f"{path}, row {i + 1}", value) for i, value in enumerate(expected)]


def test_parquet_decodes_no_column_that_is_not_used(tmp_path):
    """A time in nanoseconds has no Python type of its own, but does no harm here."""
    times = pyarrow.array([1], pyarrow.timestamp("ns"))
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"chosen": ["a"], "rejected": ["b"], "when": times}), path)
    assert [row.value for row in read_rows(path)] == [{"chosen": "a", "rejected": "b"}]


def test_reading_goes_on_after_a_broken_line_of_jsonl(tmp_path):
    first, second, third = rows_of(tmp_path / "a.jsonl", ROW + b'\n{"chosen": \n' + ROW)
    assert isinstance(second.value, InputError) and first.value == third.value


UTF8 = "expected UTF-8 text"
LINE = "expected one object on the line"
LIST = "expected a list of objects in the file (one object on each line is a .jsonl file)"
CSV = b"chosen,rejected\na,b\n"
COMMA, COLON = "Expecting ',' delimiter", "Expecting ':' delimiter"
BYTE = "not valid UTF-8 (invalid start byte: 0xff, byte"
DAMAGE = {  # the file, and the beginning of what is told: the words of other libraries are left open
    "broken": (".jsonl", ROW + b'\n{"chosen": 1 2}\n' + ROW, f", line 2: broken JSON at column 14 ({COMMA}); {LINE}"),
    "cut off": (".jsonl", ROW + b'\n{"chosen"\n', f", line 2: broken JSON at column 10 ({COLON}); {LINE}"),
    "not UTF-8": (".jsonl", ROW + b'\n\n{"chosen": "\xff"}', f", line 3: {BYTE} 13 of the line); {UTF8}"),
    "UTF-16": (".jsonl", ROW.decode().encode("utf-16"), f", line 1: {BYTE} 1 of the line); {UTF8}"),
    "nested": (".jsonl", b"[" * 100_000, ", line 1: JSON beyond what can be read (maximum recursion depth"),
    "digits": (".jsonl", b"9" * 5000, ", line 1: JSON beyond what can be read (Exceeds the limit"),
    "JSON, broken": (".json", b"[{},\n {},,\n{}]\n", f", line 2: broken JSON at column 5 (Expecting value); {LIST}"),
    "JSON, lines": (".json", ROW + b"\n" + ROW, f", line 2: broken JSON at column 1 (Extra data); {LIST}"),
    "JSON, object": (".json", ROW, f": holds an object; {LIST}"),
    "JSON, not UTF-8": (".json", b'[\n{"a": "\xff"}]', f", line 2: {BYTE} 8 of the line); {UTF8}"),
    "CSV, quote": (".csv", CSV + b'"c,d\ne,f\n', ", line 3: broken CSV in the row that starts here (unexpected end"),
    "CSV, fields": (".csv", CSV + b"c\n", ", line 3: field count 1; expected 2, as in the header"),
    "CSV, not UTF-8": (".csv", CSV + b"c,\xff\n", f", line 3: {BYTE} 3 of the line); {UTF8}"),
    "CSV, twice": (
        ".csv",
        b"chosen,chosen\n",
        ": more than one column 'chosen'; found: 'chosen', 'chosen'; expected one",
    ),
    "CSV, chat": (".csv", CSV + b"\"[{'role': 'user'}]\",b\n", ", line 3: chosen holds chat messages written as text"),
    "Parquet, broken": (".parquet", b"PAR1 nothing PAR1", ": broken Parquet ("),
    "Parquet, empty": (".parquet", b"", ": broken Parquet ("),
    "ending": (".txt", ROW, ": the name ends in '.txt'; expected one of .jsonl, .json, .csv, .parquet"),
}


@pytest.mark.parametrize(("kind", "data", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_reported_with_its_file_and_line(tmp_path, kind, data, message):
    found = message_of(tmp_path / f"a{kind}", data)
    assert found.startswith(f"a{kind}{message}") and "; expected " in found and len(found) < 400


def test_parquet_text_that_is_not_utf8_is_reported_with_its_row(tmp_path):
    """The second of two rows holds the byte 0xff, declared as text."""
    texts = pyarrow.Array.from_buffers(
        pyarrow.string(), 2, [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"a\xff")]
    )
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"chosen": texts, "rejected": ["b", "c"]}), path)
    with pytest.raises(InputError, match=r"a\.parquet, row 2: not valid UTF-8 \(invalid start byte\); expected UTF-8"):
        list(read_rows(path))


def test_a_file_that_cannot_be_opened_is_reported_in_one_line(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(InputError, match=r"folder\.jsonl: cannot be read \(.*directory"):
        list(read_rows(tmp_path / "folder.jsonl"))


def test_a_folder_gives_the_one_file_of_a_split(tmp_path):
    for name in ("train.jsonl", "test.parquet", "notes.md"):
        (tmp_path / name).touch()
    assert find_file(tmp_path, "test") == tmp_path / "test.parquet"
    with pytest.raises(InputError, match="no file for the split 'dev'; found: 'notes.md', 'test.parquet', 'train.json"):
        find_file(tmp_path, "dev")
    (tmp_path / "train.csv").touch()
    with pytest.raises(InputError, match="more than one file, 'train.jsonl', 'train.csv', for the split 'train'"):
        find_file(tmp_path, "train")
    with pytest.raises(InputError, match="nowhere: cannot be read"):
        find_file(tmp_path / "nowhere", "train")
