"""The recorded run beside TRL holds what notebook 12 says of it."""

import math

import pytest

from dpo_notes.experiments.frontier.record import read_record
from dpo_notes.pairs.embedded import data_folder


@pytest.fixture(scope="module")
def record():
    return read_record(data_folder() / "recorded" / "trl-side-by-side" / "run.json")


def test_it_says_how_it_was_made(record):
    made = record["recorded"]
    assert made["command"] == "python -m dpo_notes.experiments.side_by_side"
    assert {"torch", "transformers", "trl", "python"} <= set(made["versions"])
    assert made["date"] and made["machine"]["cores"]
    assert record["settings"]["precision"] == "fp32"


def test_both_begin_at_log_2_and_stay_together(record):
    rows = record["rows"]
    assert [row["step"] for row in rows] == list(range(1, 51))
    assert rows[0]["ours/loss"] == pytest.approx(math.log(2), abs=1e-6)
    for row in rows:
        assert row["ours/loss"] == pytest.approx(row["trl/loss"], rel=1e-4)
        assert row["ours/grad_norm"] == pytest.approx(row["trl/grad_norm"], rel=1e-2)
    assert min(row["ours/loss"] for row in rows) < 0.6  # they went some way
