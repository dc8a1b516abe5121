"""The pictures of notebook 09 show the numbers that they are given."""

import pytest
import torch
from matplotlib.patches import Rectangle

from dpo_notes.lessons.computing_log_probabilities.pictures import (
    attention_grid,
    head_map,
    padding_curves,
    scoring_table,
    share_bars,
)
from dpo_notes.pairs.batches import collate
from dpo_notes.teaching.picture import new_figure

pytestmark = pytest.mark.notebooks


@pytest.fixture
def ax():
    return new_figure(6, 4).subplots()


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_the_table_sums_what_the_mask_counts_and_its_arrows_lead_one_column_on(ax):
    scoring_table(ax, ["a", "b", "c", "d"], [0.0, -1.0, -2.5, -0.5], [False, False, True, True])
    assert "sum -3.00" in texts(ax)
    assert texts(ax).count("-2.50") == 2  # among the logps, and among what is counted
    assert texts(ax).count("-1.00") == 1
    arrows = [text for text in ax.texts if hasattr(text, "arrow_patch") and text.arrow_patch]
    assert [arrow.xy[0] - arrow.xyann[0] for arrow in arrows] == [1, 1, 1]


def test_the_grid_frames_what_each_row_foretells(ax):
    attention_grid(ax, ["a", "b", "c"], torch.ones(3, 3, dtype=torch.bool).tril(), [(0, 1), (1, 2)])
    frames = [patch.get_xy() for patch in ax.patches if isinstance(patch, Rectangle)]
    assert frames == [(0.56, -0.44), (1.56, 0.56)]
    assert ax.images[0].get_array().sum() == 6


def test_the_map_has_a_dot_for_every_position_or_only_one_before_each_response_token(ax):
    batch = collate([[1, 2], [3]], [[4, 5], [6, 7, 8]])
    assert "8 positions" in head_map(ax, batch, only_responses=False).get_title()
    other = new_figure(6, 4).subplots()
    columns, rows = head_map(other, batch, only_responses=True).lines[0].get_data()
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]


def test_the_shares_are_bars_with_their_sum(ax):
    share_bars(ax, ["a", "b"], torch.tensor([0.25, -1.0]), color="red", title="chosen")
    assert ax.get_title() == "chosen: sum -0.750"
    assert [patch.get_height() for patch in ax.patches] == [0.25, -1.0]


def test_each_thing_told_has_its_curve(ax):
    padding_curves(ax, [1, 4], {"nothing": [3, 1], "mask": [3, 2], "all": [3, 1e-7]})
    assert [line.get_ydata()[1] for line in ax.lines] == [1, 2, 1e-7]
    assert list(ax.lines[0].get_xdata()) == [1, 4]
