"""Values few enough to draw every combination of them: evenly spread, with both ends and where the explorer starts."""

import math

import ipywidgets as W
import pytest

from dpo_notes.teaching.grid import MOST, grid_of, named_values, spread, values_of


def slider(value: float = 0.5) -> W.FloatSlider:
    return W.FloatSlider(value=value, min=-3, max=3, step=0.1)


@pytest.mark.parametrize(
    ("control", "values"),
    [
        (W.IntSlider(min=0, max=6, step=2), [0, 2, 4, 6]),
        (W.FloatSlider(min=0, max=0.3, step=0.1), [0, 0.1, 0.2, 0.3]),
        (W.FloatLogSlider(value=1, base=10, min=-1, max=1, step=0.5), [0.1, 0.3162, 1, 3.162, 10]),
        (W.SelectionSlider(options=[("a tenth", 0.1), ("one", 1)]), [0.1, 1]),
        (W.Dropdown(options=["curt", "polite"]), ["curt", "polite"]),
        (W.Checkbox(), [False, True]),
        (W.Play(min=0, max=2), [0, 1, 2]),
    ],
)
def test_the_values_of_a_control_are_all_its_notches(control, values):
    assert values_of(control) == pytest.approx(values) if isinstance(values[0], float) else values_of(control) == values


def test_options_given_as_a_mapping_keep_their_words():
    assert named_values(W.Dropdown(options={"untaught": 0, "taught": 12})) == [("untaught", 0), ("taught", 12)]


def test_both_ends_and_the_value_of_now_are_always_there():
    for count in (3, 5, 8):
        for now in (0, 3, 13, 20):
            picked = spread(range(21), now, count)
            assert {0, 20, now} <= set(picked) and len(picked) <= count and picked == sorted(picked)


def test_a_value_between_the_notches_takes_the_place_of_the_nearest():
    assert spread([0.0, 0.5, 1.0], 0.4, 3) == [0.0, 0.4, 1.0]


@pytest.mark.parametrize("names", ["a", "ab", "abc", "ad", "ade", "e"])
def test_there_are_at_most_eighty_combinations_and_nearly_as_many_where_there_are_values(names):
    controls = {name: slider() for name in "abc"}
    controls |= {"d": W.Dropdown(options=list(range(14))), "e": W.Checkbox()}
    grid = grid_of(controls, list(names))
    assert list(grid) == list(names)
    assert 0.6 * min(MOST, math.prod(len(values_of(controls[name])) for name in names)) <= size(grid) <= MOST
    for name in names:
        assert controls[name].value in grid[name]


def test_a_list_to_choose_from_keeps_all_that_it_has():
    controls = {"loss": W.Dropdown(options=list(range(14))), "beta": slider()}
    grid = grid_of(controls, ["beta", "loss"])
    assert grid["loss"] == list(range(14)) and len(grid["beta"]) == 5


def size(grid: dict[str, list]) -> int:
    return math.prod(map(len, grid.values()))
