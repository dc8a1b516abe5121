"""The pictures of notebook 01 show their data."""

import pytest
from matplotlib.figure import Figure

from dpo_notes.lessons.language_models import pictures


@pytest.fixture
def ax():
    return Figure().subplots()


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_next_tokens_stand_from_the_top_with_the_truth_on_them(ax):
    pictures.next_token_bars(ax, ["␣China", "␣Japan"], [0.9, 0.1], [0.8, 0.2])
    assert [bar.get_width() for bar in ax.patches] == [0.9, 0.1]
    assert list(ax.get_lines()[0].get_xdata()) == [0.8, 0.2] and ax.yaxis_inverted()


def test_surprise_is_minus_the_logarithm_and_adds_up(ax):
    pictures.surprise_bars(ax, ["a", "b"], [-1.0, -0.25], [-0.5, 0.0])
    assert [bar.get_height() for bar in ax.patches] == [1.0, 0.25]
    assert set(labels(ax)) == {"the model: 1.25 nats in all", "the truth: 0.50 nats in all"}


def test_cities_are_sorted_around_their_mean_and_the_truth(ax):
    pictures.city_dots(ax, [0.9, 0.5, 0.7], truth=0.8)
    assert list(ax.get_lines()[0].get_ydata()) == [0.5, 0.7, 0.9]
    assert labels(ax)[1:] == ["its mean: 0.70", "the corpus: 0.80"]


def test_pretraining_shows_held_out_loss_where_there_is_one_and_three_named_levels(ax):
    rows = [{"step": 1, "loss": 7.0}, {"step": 2, "loss": 5.0, "held out": 5.5}]
    pictures.pretraining_panel(ax, rows, steps=10, levels={"alike": 7.6, "often": 5.2, "world": 1.1})
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert drawn["training"] == [7.0, 5.0] and drawn["held out"] == [5.5]
    assert [text.get_text() for text in ax.texts] == ["alike: 7.60", "often: 5.20", "world: 1.10"]


def test_temperature_bars_have_their_words(ax):
    pictures.temperature_bars(ax, ["a", "b"], [0.6, 0.4], title="T = 1")
    assert [bar.get_height() for bar in ax.patches] == [0.6, 0.4] and ax.get_title() == "T = 1"
