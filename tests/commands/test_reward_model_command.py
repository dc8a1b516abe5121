"""`dpo-notes reward-model`, as a user meets it: the run folder, the table, and one line for bad input."""

import json

import pytest
import torch
from folders import tree
from runs import rows_in, write_lines, write_pairs
from transformers import AutoModelForSequenceClassification

from dpo_notes.cli import main
from dpo_notes.commands.reward_model_run import least_loss, reward_model_gains

pytest_plugins = ["run_fixtures"]


@pytest.fixture
def run(tmp_path, model_folder, tiny_pairs):
    """run(*words): the exit code of a small run into tmp_path/run, 16 pairs to train on and 8 held out."""
    data = write_pairs(tmp_path / "pairs.jsonl", tiny_pairs[:16])
    held_out = write_pairs(tmp_path / "held.jsonl", tiny_pairs[16:])
    words = ["reward-model", "--model", str(model_folder), "--data", str(data), "--eval-data", str(held_out)]
    words += ["--output", str(tmp_path / "run"), "--set", "batch_size=4", "--set", "learning_rate=1e-3"]
    return lambda *more: main([*words, *more])


def test_a_run_folder_holds_what_the_help_says_and_its_model_loads_in_transformers(run, tmp_path, capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    folder = tmp_path / "run"
    assert {path.name for path in folder.iterdir()} == {
        *(".dpo-notes.json", "model", "metrics.jsonl", "config.json", "curves.png", "checkpoint")
    }
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model")
    assert model.score.weight.any()
    record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert record["command"].startswith("dpo-notes reward-model --model ")
    assert (record["config"]["batch_size"], record["pairs"], record["eval_pairs"]) == (4, 16, 8)
    assert record["versions"]["torch"] == torch.__version__
    assert "16 comparisons to train on, 8 held out" in printed
    assert f"model:   {folder / 'model'}" in printed


def test_the_table_shows_what_is_possible_where_the_true_reward_is_known(run, tmp_path, capsys):
    run()
    lines = {line[:34].strip(): line[34:].split() for line in capsys.readouterr().out.splitlines()}
    assert lines["held out"] == ["before", "after", "possible"]
    assert lines["loss (nats)"][0] == "0.693"
    assert lines["accuracy"][0] == "guessing"
    assert lines["calibration error"][0] == "0.000"
    rows = rows_in(tmp_path / "run")
    assert lines["loss (nats)"][1] == f"{rows[-1]['eval/loss']:.3f}"
    assert lines["accuracy"][1] == f"{rows[-1]['eval/rewards/accuracies']:.1%}"
    assert len(lines["correlation with the true reward"]) == 2


def test_a_table_by_hand():
    """Two pairs, true margins log 3 and 0: entropies 0.562 and 0.693, best accuracy (3/4 + 1/2) / 2.

    Where the truth predicts 3/4, one of one came true; a tie counts one half, as predicted: error (1/4 + 0) / 2. Learnt
    margins 2 and 1 correlate with log 3 and 0 by 2 / sqrt(2^2 + 1^2) = 0.89.
    """
    truth = torch.tensor([3.0, 1.0]).log().double(), torch.zeros(2).double()
    learnt = torch.tensor([2.0, 1.0]).double(), torch.zeros(2).double()
    names = ("eval/loss", "eval/rewards/accuracies", "eval/calibration", "eval/rewards/margins")
    rows = [dict(zip(names, values, strict=True)) for values in ((0.693, 0.0, 0.0, 0.0), (0.2, 1.0, 0.1, 1.5))]
    assert least_loss(*truth) == pytest.approx((0.5623351446 + 0.6931471806) / 2)
    assert reward_model_gains(rows, learnt, truth).splitlines() == [
        "held out                              before     after  possible",
        "loss (nats)                            0.693     0.200     0.628",
        "accuracy                            guessing    100.0%     62.5%",
        "calibration error                      0.000     0.100     0.125",
        "reward margin (nats)                    0.00      1.50",
        "correlation with the true reward                  0.89      1.00",
    ]
    assert reward_model_gains(rows, learnt, None).splitlines()[1:3] == [
        "loss (nats)                            0.693     0.200",
        "accuracy                            guessing    100.0%",
    ]


def test_comparisons_from_elsewhere_have_no_best_possible(run, tmp_path, capsys):
    rows = [{"prompt": f"Name {n}.", "chosen": f" It is {n}.", "rejected": f" {n} {n}"} for n in range(20)]
    data = write_lines(tmp_path / "mine.jsonl", rows)
    assert run("--data", str(data), "--eval-data", str(data)) == 0
    printed = capsys.readouterr().out
    assert "possible" not in printed and "true reward" not in printed


def test_a_run_that_is_resumed_after_its_end_says_the_same_again(run, capsys):
    run()
    first = capsys.readouterr().out
    assert run("--resume") == 0
    assert capsys.readouterr().out == first


def test_a_second_run_into_the_same_folder_is_refused_and_leaves_it_whole(run, tmp_path, capsys):
    run()
    before = tree(tmp_path / "run")
    capsys.readouterr()
    assert run() == 2
    assert "holds a run already" in capsys.readouterr().err
    assert tree(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--set", "beta=1"], "--set beta=1: expected FIELD=VALUE with one of the fields learning_rate, epochs"),
        (["--set", "epochs=1.5"], "--set epochs=1.5: expected a whole number"),
        (["--set", "learning_rate=0"], "learning_rate is 0.0; expected a finite number above 0"),
        (["--resume"], "--resume needs --output"),
        (["--model", "no/such/folder"], "cannot load a model from no/such/folder"),
        (["--data", "no_such_file.jsonl"], "no_such_file.jsonl"),
        (["--eval-data", "no_such_file.jsonl"], "no_such_file.jsonl"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2_and_writes_nothing(words, complaint, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reward-model", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dpo-notes: ")
    assert complaint in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
