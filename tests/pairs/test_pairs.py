"""Comparisons from files and folders: what was written comes back. Bad rows: test_bad_rows.py; the hub: test_hub.py."""

import csv
import json
import random
import warnings
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs import load as pairs_module
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.pairs.messages import Message

TEXTS = {"prompt": "p", "chosen": "a", "rejected": "b"}
ALPHABET = [
    *"ab \",;:'\\{}[]\r\n\t\0\x1f\x7f",
    *"éßЖ中文\u2028\u2029\x85\ufeff\u200d\u0301👩🔬\U0010ffff",
    "<|endoftext|>",
]


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8", newline="\n")


def write_json(path: Path, rows: list[dict]) -> None:
    path.write_text(json.dumps(rows), "utf-8")


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: list[dict]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


WRITERS = {"jsonl": write_jsonl, "json": write_json, "csv": write_csv, "parquet": write_parquet}


def random_text(generator: random.Random, least: int) -> str:
    return "".join(generator.choices(ALPHABET, k=generator.randint(least, 12)))


@pytest.mark.parametrize("kind", WRITERS)
def test_any_unicode_text_comes_back_from_any_file(tmp_path, kind):
    """300 pairs of random text with quotes, line breaks of all kinds, NUL and marks; a last letter makes them valid."""
    generator = random.Random(0)
    rows = [
        {
            "prompt": random_text(generator, 0),
            "chosen": random_text(generator, 1) + "1",
            "p_chosen": str(number),
            "rejected": random_text(generator, 1) + "2",
        }
        for number in range(300)
    ]
    WRITERS[kind](tmp_path / f"a.{kind}", rows)
    expected = [PreferencePair(row["prompt"], row["chosen"], row["rejected"]) for row in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_pairs(tmp_path / f"a.{kind}") == expected


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
@pytest.mark.parametrize("explicit", [True, False], ids=["prompt column", "whole conversations"])
@pytest.mark.filterwarnings("ignore:.*no prompt column")
def test_chat_messages_come_back_from_any_file_that_can_hold_them(tmp_path, kind, explicit):
    generator = random.Random(1)
    rows, expected = [], []
    for number in range(50):
        roles = ["system"] * (number % 2) + ["user", "assistant"] * (number % 3) + ["user"]
        prompt = [{"role": role, "content": random_text(generator, 0)} for role in roles]
        chosen, rejected = ([{"role": "assistant", "content": random_text(generator, 0) + end}] for end in "12")
        expected.append(PreferencePair(prompt, chosen, rejected))
        row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        rows.append(row if explicit else {"chosen": prompt + chosen, "rejected": prompt + rejected})
    WRITERS[kind](tmp_path / f"a.{kind}", rows)
    assert load_pairs(tmp_path / f"a.{kind}") == expected


@pytest.mark.parametrize("kind", WRITERS)
def test_a_pair_knows_where_it_was_read_and_equals_one_that_was_not(tmp_path, kind):
    rows = [{"prompt": "p", "chosen": c, "rejected": "z"} for c in "abc"]
    WRITERS[kind](tmp_path / f"a.{kind}", rows)
    pairs = load_pairs(tmp_path / f"a.{kind}")
    first = {"jsonl": "line 1", "json": "row 1", "csv": "line 2", "parquet": "row 1"}[kind]
    assert pairs[0].place == f"{tmp_path}/a.{kind}, {first}"
    assert len({pair.place for pair in pairs}) == 3
    made = PreferencePair("p", "a", "z")
    assert made.place == "" and pairs[0] == made and hash(pairs[0]) == hash(made) and repr(pairs[0]) == repr(made)


def test_duplicates_are_kept_and_counted_in_one_warning(tmp_path):
    rows = [{"prompt": "p", "chosen": c, "rejected": "z"} for c in "abaca"]
    write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.warns(UserWarning) as warned:
        assert [pair.chosen for pair in load_pairs(tmp_path / "a.jsonl")] == list("abaca")
    expected = "the first of 2 exact duplicates of earlier pairs (5 in all), which are kept"
    assert [str(warning.message) for warning in warned] == [f"{tmp_path}/a.jsonl, line 3: {expected}"]


def test_without_prompt_it_is_the_common_beginning_and_one_warning_says_how_it_was_cut(tmp_path):
    """Two rows share a turn's beginning, one of them going on to a later turn; the third shares words only."""
    turn = "\n\nHuman: Hi\n\nAssistant:"
    starts = {" Yes": turn, " Yes\n\nHuman: Bye": turn, " good": "Is it"}
    rows = [{"chosen": start + end, "rejected": f"{start} great"} for end, start in starts.items()]
    write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.warns(UserWarning) as warned:
        pairs = load_pairs(tmp_path / "a.jsonl")
    assert pairs == [PreferencePair(start, end, " great") for end, start in starts.items()]
    expected = (
        "no prompt column (rows: 3); the prompt is the beginning that chosen and rejected share, cut after the last "
        r"'\n\nAssistant:' in 2, with a later '\n\nHuman:' in a response in 1, at a word border in 1"
    )
    assert [str(warning.message) for warning in warned] == [f"{tmp_path}/a.jsonl: {expected}"]


def test_a_pair_is_immutable_and_hashable_and_keeps_messages_as_tuples():
    user, good, bad = ({"role": role, "content": role[0], "name": None} for role in ("user", "assistant", "assistant"))
    pair = PreferencePair([user], (good,), [Message("assistant", "a")])
    assert pair.chosen == (Message("assistant", "a"),) and not pair.is_text
    assert len({pair, PreferencePair((user,), [bad], [good]), PreferencePair("u", "a", "b")}) == 2
    with pytest.raises(AttributeError):
        pair.chosen = "a"


def test_a_folder_a_file_and_a_split(tmp_path):
    write_jsonl(tmp_path / "train.jsonl", [TEXTS | {"chosen": "train"}])
    write_csv(tmp_path / "test.csv", [TEXTS | {"chosen": "test"}])
    file = tmp_path / "train.jsonl"
    for load in ((tmp_path, None), (str(tmp_path), "train"), (file, None), (file, "train")):
        assert load_pairs(*load)[0].chosen == "train"
    assert load_pairs(tmp_path, split="test")[0].chosen == "test"
    with pytest.raises(InputError, match="no file for the split 'dev'; found: 'test.csv', 'train.jsonl'; expected one"):
        load_pairs(tmp_path, "dev")
    with pytest.raises(InputError, match=r"train\.jsonl: one file has no split 'test'; expected no split, or a folder"):
        load_pairs(file, "test")


def test_embedded_means_the_comparisons_of_the_repository(tmp_path, monkeypatch):
    monkeypatch.setattr(pairs_module, "data_folder", lambda: tmp_path)
    with pytest.raises(InputError, match="comparisons: cannot be read"):
        load_pairs("embedded")
    (tmp_path / "comparisons").mkdir()
    write_jsonl(tmp_path / "comparisons" / "train.jsonl", [TEXTS])
    assert load_pairs("embedded") == [PreferencePair("p", "a", "b")]


@pytest.mark.parametrize(
    "name", ["", "./nothing", "no such", "a/b/c", "missing.jsonl", "far/missing.CSV", "x" * 5000 + "/é"]
)
def test_a_name_that_can_be_neither_file_nor_hub_name_is_reported_at_once(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no such file or folder; expected one, 'embedded' or a hub|cannot be opened"):
        load_pairs(name)
