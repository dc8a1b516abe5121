"""What a run leaves to read."""

import pytest

from dpo_notes.commands.known_rewards import best_accuracy
from dpo_notes.commands.report import gains, write_samples
from dpo_notes.pairs.load import PreferencePair

BEFORE = {"step": 0, "eval/loss": 0.6931, "eval/rewards/margins": 0.0, "eval/rewards/accuracies": 0.0, "eval/kl": 0.0,
          "eval/kl_error": 0.0, "eval/reward": 0.31, "eval/grammatical": 0.97, "eval/length": 20.0}  # fmt: skip
AFTER = BEFORE | {"step": 9, "eval/loss": 0.55, "eval/rewards/margins": 1.2, "eval/rewards/accuracies": 0.711,
                  "eval/kl": 2.341, "eval/kl_error": 0.06, "eval/reward": 1.52}  # fmt: skip


def test_gains_stand_before_and_after_with_the_kl_paid_and_the_best_possible_accuracy():
    table = gains([BEFORE, {"step": 1, "loss": 0.7}, AFTER], best=0.75)
    found = {line[:34].strip(): line[34:].split() for line in table.splitlines()}
    assert found["loss (nats)"] == ["0.693", "0.550"]
    assert found["accuracy"] == ["guessing", "71.1%"]
    assert found["best possible accuracy"] == ["75.0%"]
    assert found["KL from the reference (nats)"] == ["0.00", "2.34", "±", "0.06"]
    assert found["true reward of samples (nats)"] == ["0.31", "1.52"]
    assert found["grammatical samples"] == ["97.0%", "97.0%"]


def test_a_loss_without_reference_has_margins_and_an_accuracy_before_training_too():
    table = gains([BEFORE | {"eval/rewards/margins": -0.2, "eval/rewards/accuracies": 0.42}, AFTER], best=None)
    found = {line[:34].strip(): line[34:].split() for line in table.splitlines()}
    assert found["accuracy"] == ["42.0%", "71.1%"]


def test_without_held_out_pairs_there_is_nothing_to_compare():
    assert "nothing to compare" in gains([{"step": 1, "loss": 0.7}], best=None)


def test_best_accuracy_by_hand():
    """Rewards 1 and -1: p = sigma(2) = 0.8808, whichever of the two was chosen."""
    right, wrong = " In France.", " In Italy."
    pairs = [PreferencePair("Where is Paris?", right, wrong), PreferencePair("Where is Paris?", wrong, right)]
    assert best_accuracy(pairs) == pytest.approx(0.8808, abs=1e-4)


def test_outside_the_review_world_the_best_accuracy_is_unknown():
    assert best_accuracy([PreferencePair("2 + 2 =", " 4", " 5")]) is None
    assert best_accuracy([]) is None


def test_samples_are_one_table_row_a_prompt_whatever_the_text_holds(tmp_path):
    path = tmp_path / "samples.md"
    write_samples(path, ["a|b\nc", "d"], ["*x*", "y"], ["`z`", "[w](v)"])
    rows = path.read_text(encoding="utf-8").splitlines()[-2:]
    assert rows[0] == "| a&#124;b<br>c | &#42;x&#42; | &#96;z&#96; |"
    assert rows[1] == "| d | y | &#91;w&#93;(v) |"
