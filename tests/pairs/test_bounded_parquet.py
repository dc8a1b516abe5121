"""Files of comparisons that unpack to far more, or have no end, are refused in little memory and time."""

import os
import subprocess
import sys
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs import files
from dpo_notes.pairs.files import read_rows
from dpo_notes.places import ROOT

MEGABYTE = 10**6


def write_compressed(table: pyarrow.Table, path: Path) -> Path:
    pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30)
    return path


def repeated(path: Path, text: str, rows: int) -> Path:
    """A file with this text three times in each row. It is a kilobyte, because it stores the text once."""
    first = pyarrow.array(numpy.zeros(rows, dtype="int32"))
    columns = {
        name: pyarrow.DictionaryArray.from_arrays(first, pyarrow.array([text + name]))
        for name in ("prompt", "chosen", "rejected")
    }
    write_compressed(pyarrow.table(columns), path)
    assert path.stat().st_size < 100_000
    return path


def late(path: Path) -> Path:
    """The long text comes after a thousand rows without text, so at first nothing shows it."""
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([None] * 2000 + [0] * 50_000, pyarrow.int32()), pyarrow.array(["a" * MEGABYTE])
    )
    return write_compressed(pyarrow.table({"prompt": texts, "chosen": texts, "rejected": texts}), path)


def many_messages(path: Path, counts: list[int], content: str = "hi") -> Path:
    total = sum(counts)
    same = pyarrow.array(numpy.zeros(total, dtype="int32"))
    words = [pyarrow.DictionaryArray.from_arrays(same, pyarrow.array([text])) for text in ("user", content)]
    ends = numpy.concatenate([[0], numpy.cumsum(counts)]).astype("int32")
    messages = pyarrow.ListArray.from_arrays(ends, pyarrow.StructArray.from_arrays(words, ["role", "content"]))
    return write_compressed(pyarrow.table({"prompt": messages, "chosen": messages, "rejected": messages}), path)


def one_field(path: Path, size: int) -> Path:
    table = pyarrow.table({"prompt": ["a"], "chosen": ["a" * size], "rejected": ["b"]})
    pyarrow.parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    return path


BOMBS = {
    "300 GB of one text": (repeated, ["a" * MEGABYTE, 100_000], "bytes of text, if it goes on as it"),
    "300 GB of a shorter text": (repeated, ["a" * 30_000, 3_000_000], "bytes of text, if it goes on"),
    "one text in the later rows": (
        late,
        [],
        "bytes of text, if it goes on as it begins; expected at most 16,000,000,000",
    ),
    "a field of 270 MB": (one_field, [270 * MEGABYTE], "bytes once it is unpacked; expected at most 268,435,456"),
    "a field of 120 MB": (one_field, [120 * MEGABYTE], "bytes in row 1; expected at most 100,000,000"),
    "five million messages": (many_messages, [[5_000_000]], "values of prompt.list.element.role in one"),
    "20,000 messages in the second row": (many_messages, [[1, 20_000]], "messages in prompt of a row"),
    "a million messages": (many_messages, [[100] * 10_000], "bytes, with texts that repeat counted"),
    "megabytes in each message": (many_messages, [[100] * 1000, "a" * MEGABYTE], "more than 1.5 GiB in a few rows"),
}
READ_IN_A_GIGABYTE = """
import resource, sys
from dpo_notes.pairs.load import load_pairs
import pyarrow, pyarrow.parquet, pyarrow.compute
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_pairs(sys.argv[1], check=lambda pair: None, on_bad_row="skip")
except ValueError as error:
    print(type(error).__name__, error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("make", "content", "message"), BOMBS.values(), ids=BOMBS)
def test_a_parquet_file_that_unpacks_to_far_more_is_refused_in_little_memory(make, content, message, tmp_path):
    path = make(tmp_path / "a.parquet", *content)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({4 * 2**30},) * 2)"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", limit + READ_IN_A_GIGABYTE, str(path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    said = ran.stdout.splitlines()
    assert ran.stderr == "" and len(said) == 2 and said[0].startswith(f"InputError {path}: holds ")
    assert message in said[0] and "set DPO_NOTES_DATA_TIMES=" in said[0]
    assert int(said[1]) < 1000, f"{said[1]} MiB"


def test_the_bounds_of_parquet_are_raised_as_the_message_says(tmp_path, monkeypatch):
    path = many_messages(tmp_path / "a.parquet", [1, 15_000])
    with pytest.raises(InputError, match="holds 15,000 messages .* expected at most 10,000 .* DPO_NOTES_DATA_TIMES=2"):
        list(read_rows(path))
    assert len(list(read_rows(path, parquet_times=2))) == 2
    monkeypatch.setenv("DPO_NOTES_DATA_TIMES", "2")
    assert [len(row.value["prompt"]) for row in read_rows(path)] == [1, 15_000]
    with pytest.raises(InputError, match="expected at most 5,000"):
        list(read_rows(path, parquet_times=0.5))
    monkeypatch.setenv("DPO_NOTES_DATA_TIMES", "much")
    with pytest.raises(InputError, match="^DPO_NOTES_DATA_TIMES is 'much'; expected a finite number above 0"):
        list(read_rows(path))


def test_texts_that_repeat_are_read_as_one_object_and_stay_what_they_are(tmp_path):
    rows = [row.value for row in read_rows(repeated(tmp_path / "a.parquet", "a" * 5000, 5000))]
    assert len(rows) == 5000 and all(row["chosen"] is rows[0]["chosen"] for row in rows)
    assert rows[-1] == {name: "a" * 5000 + name for name in ("prompt", "chosen", "rejected")}


@pytest.mark.parametrize("group", [7, 1000, 100_000])
def test_rows_come_out_in_order_whatever_the_row_groups(tmp_path, group):
    texts = [f"{number} " + "word " * (number % 50) for number in range(3000)]
    table = pyarrow.table({"prompt": texts, "chosen": texts[::-1], "rejected": ["no", None, "yes"] * 1000})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    assert [row.value for row in read_rows(path)] == table.to_pylist()
    assert [row.place for row in read_rows(path)][-1] == f"{path}, row 3000"


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_a_line_without_end_is_refused_before_it_is_read(tmp_path, name, monkeypatch):
    """A hundred thousand million zeros, which take no room on the disk."""
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(InputError, match=r"holds 100,000,001 bytes or more in line 1; .* set DPO_NOTES_DATA_TIMES=2"):
        list(read_rows(path))
    monkeypatch.setattr(files, "LINE_BYTES", 50)
    path.write_text("chosen,rejected\n" + "a," + "b" * 90 + "\n" if name == "a.csv" else '"' + "b" * 90 + '"\n')
    with pytest.raises(InputError, match=r"holds 51 bytes or more in line [12]; expected at most 50"):
        list(read_rows(path))
    monkeypatch.setenv("DPO_NOTES_DATA_TIMES", "2")
    assert len(list(read_rows(path))) == 1


def test_a_list_without_end_and_a_field_over_many_lines_are_refused(tmp_path, monkeypatch):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(InputError, match=r"holds 100,000,000,000 bytes, read at once .* at most 4,000,000,000"):
        list(read_rows(tmp_path / "a.json"))
    monkeypatch.setattr(files, "LINE_BYTES", 50)
    (tmp_path / "a.csv").write_text('chosen,rejected\na,"' + "b\n" * 40 + '"\n')
    with pytest.raises(InputError, match=r"line 2: broken CSV .*field larger than field limit"):
        list(read_rows(tmp_path / "a.csv"))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_a_pipe_and_a_device_are_no_files_of_comparisons(tmp_path, name):
    os.mkfifo(tmp_path / name)
    (tmp_path / f"b{name}").symlink_to("/dev/zero")
    for path in (tmp_path / name, tmp_path / f"b{name}"):
        with pytest.raises(InputError, match="not a regular file; expected one, not a pipe or a device"):
            list(read_rows(path))
