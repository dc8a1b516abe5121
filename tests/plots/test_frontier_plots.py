"""The picture of the frontier, read back from the axes."""

import math

import pytest
from matplotlib.figure import Figure

from dpo_notes.plots import runs as plots
from dpo_notes.plots.frontier import METHODS, frontier_panel, frontier_picture, grammar_panel, seed_means


def point(method, value, seed, kl, reward, grammatical=0.9):
    return {"method": method, "value": value, "seed": seed, "kl": kl, "kl_error": 0.3, "reward": reward,
            "reward_error": 0.4, "grammatical": grammatical}  # fmt: skip


RECORD = {
    "points": [
        point("base", None, None, 0.0, 0.25, 0.95),
        point("dpo", 0.5, 0, 2.0, 1.0, 0.8),
        point("dpo", 0.5, 1, 4.0, 2.0, 0.6),
        point("dpo", 0.1, 0, 6.0, 3.0),
        point("best-of-n", 4, 0, 0.5, 1.5),
    ],
    "optimum": [{"beta": 1.0, "kl": 0.3, "reward": 1.1}, {"beta": 0.5, "kl": 0.8, "reward": 1.4}],
    "optimum_samples": 192,
}


@pytest.fixture
def ax():
    return Figure().subplots()


def test_means_over_seeds_by_hand():
    """KL (2 + 4) / 2; its error sqrt(0.3^2 + 0.3^2) / 2, that of the reward sqrt(0.4^2 + 0.4^2) / 2."""
    first, second = seed_means(RECORD["points"], "dpo")
    assert (first["value"], first["seeds"], first["kl_error"]) == (0.1, 1, pytest.approx(0.3))
    assert second == {
        "value": 0.5,
        "seeds": 2,
        "kl": 3.0,
        "reward": 1.5,
        "grammatical": pytest.approx(0.7),
        "kl_error": pytest.approx(0.3 / math.sqrt(2)),
        "reward_error": pytest.approx(0.4 / math.sqrt(2)),
    }


def lines(ax):
    """The lines of an axes that have a label of their own, as lists of (x, y)."""
    found = {line.get_label(): line for line in ax.get_lines() if not line.get_label().startswith("_")}
    found |= {container.get_label(): container[0] for container in ax.containers}
    return {label: [tuple(map(float, place)) for place in line.get_xydata()] for label, line in found.items()}


def test_every_method_is_drawn_at_its_means_in_the_order_of_strength_with_bars_of_two_errors(ax):
    frontier_panel(ax, RECORD)
    assert lines(ax)[METHODS["dpo"][0]] == [(6.0, 3.0), (3.0, 1.5)]
    (dpo,) = (container for container in ax.containers if container.get_label() == METHODS["dpo"][0])
    across, upward = (bars.get_segments()[0] for bars in dpo[2])
    assert across[:, 0].tolist() == pytest.approx([6 - 0.6, 6 + 0.6])
    assert upward[:, 1].tolist() == pytest.approx([3 - 0.8, 3 + 0.8])
    assert {text.get_text() for text in ax.texts} == {"0.1", "0.5", "4"}


def test_the_optimum_begins_at_the_base_model_and_says_how_many_samples_it_comes_from(ax):
    drawn = lines(frontier_panel(ax, RECORD))
    (label,) = (label for label in drawn if "192 samples" in label)
    assert drawn[label] == [(0.0, 0.25), (0.3, 1.1), (0.8, 1.4)]
    assert drawn["base model"] == [(0.0, 0.25)]


def test_grammar_is_drawn_against_the_same_divergence(ax):
    drawn = lines(grammar_panel(ax, RECORD))
    assert drawn[METHODS["dpo"][0]] == [(6.0, 0.9), (3.0, pytest.approx(0.7))]
    assert drawn["base model"] == [(0.0, 0.95)]


def test_methods_differ_in_colour_or_marker_and_colours_mean_what_they_mean_everywhere():
    assert len({style[1:] for style in METHODS.values()}) == len(METHODS)
    assert METHODS["dpo"][1] == plots.POLICY
    assert METHODS["sft"][1] == plots.CHOSEN
    assert {METHODS[method][1] for method in ("ppo-true", "best-of-n")} == {plots.TRUTH}


def test_methods_that_a_record_lacks_are_left_out_of_picture_and_legend():
    figure = frontier_picture(RECORD)
    (legend,) = figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert METHODS["dpo"][0] in words
    assert METHODS["sft"][0] not in words
    assert len(figure.axes) == 2
