"""Which comparisons a command trains on, and which it is judged by."""

import argparse
import json
from pathlib import Path

import pytest

from dpo_notes.commands.splits import load_splits, split_to_judge_by
from dpo_notes.pairs.load import load_pairs


def write(path: Path, word: str) -> None:
    path.write_text(json.dumps({"prompt": "p", "chosen": word, "rejected": "z"}) + "\n")


def splits(tokenizer, data: object, eval_data: object) -> tuple[list, list]:
    args = argparse.Namespace(data=str(data), eval_data=eval_data and str(eval_data), on_bad_row="stop")
    return load_splits(args, tokenizer, seed=0)


def test_a_folder_that_is_judged_by_gives_its_test_split_and_a_file_itself(tmp_path, tiny_tokenizer):
    for name in ("train", "test"):
        write(tmp_path / f"{name}.jsonl", name)
    for data in (tmp_path, tmp_path / "train.jsonl"):
        train, held_out = splits(tiny_tokenizer, data, tmp_path)
        assert ([pair.chosen for pair in train], [pair.chosen for pair in held_out]) == (["train"], ["test"])
    _, held_out = splits(tiny_tokenizer, tmp_path, tmp_path / "train.jsonl")
    assert [pair.chosen for pair in held_out] == ["train"]


@pytest.mark.parametrize("eval_data", [None, "embedded"])
def test_the_repositorys_own_are_judged_by_its_test_file(tiny_tokenizer, tmp_path, eval_data):
    write(tmp_path / "mine.jsonl", "mine")
    _, held_out = splits(tiny_tokenizer, tmp_path / "mine.jsonl" if eval_data else "embedded", eval_data)
    assert held_out == load_pairs("embedded", "test")


def test_of_a_hub_data_set_the_test_split_is_asked_for():
    assert split_to_judge_by("somebody/something") == "test"
