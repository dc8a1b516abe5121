"""Runs that went wrong, on a tiny model: each shows the sign that its exercise asks for."""

import math
from dataclasses import replace

import torch

from dpo_notes.experiments.frontier.record import read_record
from dpo_notes.experiments.sick_runs import (
    CONFIG,
    ELSEWHERE,
    FILE,
    HEALTHY,
    OFTEN,
    READ_OFTEN,
    RUNS,
    SWAPPED,
    by_letter,
    record,
)
from dpo_notes.lessons.training_gpt2_with_dpo.pictures import sick_runs

LETTER = {fault: letter for letter, fault in RUNS.items()}


def first_and_last(rows, name):
    values = [row[name] for row in rows if name in row]
    return values[0], values[-1]


def test_each_recorded_run_shows_its_sign():
    runs = by_letter(read_record(FILE)["rows"])
    held_out = {letter: first_and_last(rows, "eval/loss") for letter, rows in runs.items()}
    off_start = {letter for letter, (first, _) in held_out.items() if abs(first - math.log(2)) > 0.02}
    assert off_start == {LETTER[ELSEWHERE]}
    below_half = {l for l, rows in runs.items() if first_and_last(rows, "eval/rewards/accuracies")[1] < 0.45}
    assert below_half == {LETTER[SWAPPED]}
    assert held_out[LETTER[HEALTHY]][1] < math.log(2) - 0.01
    often = runs[LETTER[READ_OFTEN]]
    assert often[-1]["loss"] < 0.4 < math.log(2) < often[-1]["eval/loss"]


def test_a_record_holds_all_runs_and_the_picture_a_column_for_each(new_tiny_model, tiny_tokenizer, tiny_pairs):
    config = replace(CONFIG, batch_size=4, max_length=96, eval_every=2)
    rows = list(record(new_tiny_model(), tiny_tokenizer, tiny_pairs[:8], tiny_pairs[16:], config=config, few=4))
    by_run = by_letter(rows)
    assert [len(run) for run in by_run.values()] == [1 + OFTEN, 3, 3, 3, 3]
    figure = sick_runs(by_run)
    assert len(figure.axes) == 3 * len(RUNS)
    start = {letter: run[0]["eval/loss"] for letter, run in by_run.items()}
    assert all((abs(loss - math.log(2)) < 1e-4) == (RUNS[letter] != ELSEWHERE) for letter, loss in start.items())
    assert torch.tensor([row["loss"] for row in rows if "loss" in row]).isfinite().all()
