"""The pictures of notebook 10: what was drawn is read back from the axes. `sick_runs` is tested with its record."""

import copy

import pytest
import torch

from dpo_notes.lessons.training_gpt2_with_dpo.pictures import HOMES, run_panels, token_bars
from dpo_notes.lessons.training_gpt2_with_dpo.snapshots import Snapshots
from dpo_notes.teaching.picture import new_figure

ROWS = [
    {"step": 0, "eval/logps/chosen": -20.0, "eval/logps/rejected": -20.0, "eval/rewards/accuracies": 0.0},
    {"step": 1, "loss": 0.7, "rewards/margins": 2.0},
    {"step": 2, "loss": 0.5, "rewards/margins": 4.0, "eval/logps/chosen": -19.9, "eval/logps/rejected": -22.0}
    | {"eval/rewards/accuracies": 0.6},
]


def test_a_run_beside_is_drawn_in_all_panels_and_they_have_room_for_it():
    axes, lines = run_panels(new_figure(12, 3.3), steps=2, beside=ROWS, best=0.7)
    drawn = {
        panel: [list(line.get_ydata()) for line in ax.lines if len(line.get_ydata())] for panel, ax in axes.items()
    }
    assert drawn["margin"] == [[2.0, 3.0]]
    assert drawn["logps"] == [pytest.approx([0.0, 0.1]), [0.0, -2.0]]
    assert drawn["accuracy"] == [[0.6], [0.7, 0.7]]
    for panel, values in (("margin", [3.0]), ("logps", [-2.0, 0.1]), ("loss", [0.6])):
        low, high = axes[panel].get_ylim()
        assert all(low <= value <= high for value in values)
    assert not any(len(line.get_ydata()) for line in lines.values())


def test_without_a_run_beside_the_panels_stand_at_home():
    axes, _ = run_panels(new_figure(12, 3.3), steps=100)
    assert {panel: ax.get_ylim() for panel, ax in axes.items()} == HOMES
    assert all(ax.get_xlim() == (0, 100) for ax in axes.values())


def test_tokens_have_a_bar_for_each_step_at_the_height_of_their_log_ratio(tiny_model, tiny_tokenizer, tiny_pairs):
    snapshots = Snapshots(tiny_model, tiny_tokenizer, tiny_pairs[:2], seed=0)
    policy = copy.deepcopy(tiny_model)
    for step in (0, 5, 9):
        snapshots.take(policy, step=step)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.mul_(1.01)
    figure = token_bars(snapshots, number=1, steps=(5, 9))
    for ax, side in zip(figure.axes, ("chosen", "rejected"), strict=True):
        heights = [[bar.get_height() for bar in bars] for bars in ax.containers]
        assert heights == [pytest.approx(getattr(snapshot, side)[1].tolist()) for snapshot in snapshots.taken[1:]]
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == snapshots.words[1][0]
