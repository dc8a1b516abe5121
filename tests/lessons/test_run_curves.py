"""What pictures of runs take from their rows."""

import math

from dpo_notes.lessons.training_gpt2_with_dpo.run_curves import curves, points, room_for, since_start, trailing_mean

ROWS = [
    {"step": 0, "eval/logps/chosen": -20.0, "eval/logps/rejected": -19.0, "eval/rewards/accuracies": 0.0},
    {"step": 1, "loss": 0.7, "rewards/margins": 0.0},
    {"step": 2, "loss": 0.5, "rewards/margins": 0.4, "eval/logps/chosen": -19.5, "eval/logps/rejected": -20.0}
    | {"eval/rewards/accuracies": 0.6},
]


def test_points_are_the_steps_that_have_the_metric():
    assert points(ROWS, "loss") == ([1, 2], [0.7, 0.5])
    assert points(ROWS, "nothing") == ([], [])


def test_a_trailing_mean_looks_back_and_never_forward():
    assert trailing_mean(([1, 2, 3, 4], [1.0, 2.0, 3.0, 4.0]), width=2) == ([1, 2, 3, 4], [1.0, 1.5, 2.5, 3.5])
    assert trailing_mean(([], [])) == ([], [])


def test_curves_hold_changes_since_the_start_and_no_accuracy_of_step_0():
    drawn = curves(ROWS)
    assert drawn["chosen"] == ([0, 2], [0.0, 0.5])
    assert drawn["rejected"] == ([0, 2], [0.0, -1.0])
    assert drawn["accuracy"] == ([2], [0.6])
    assert drawn["loss mean"][1] == [0.7, 0.6]
    assert since_start(([], [])) == ([], [])
    assert all(line == ([], []) for line in curves([]).values())


def test_an_axis_keeps_its_limits_until_a_value_leaves_them():
    home = (0.0, 1.0)
    assert room_for([0.2, 0.9], home=home, now=(-1.0, 3.0)) == (-1.0, 3.0)
    assert room_for([1.5], home=home, now=home) == (0.0, 2.0)
    assert room_for([-0.5, math.nan, math.inf], home=home, now=home) == (-1.0, 1.0)
    assert room_for([], home=home, now=home) == home
