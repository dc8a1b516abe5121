"""An explorer draws, describes and saves what its controls say."""

import math

import ipywidgets as W
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hands_on import pixels, press

from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.live import Explorer


class Line(Explorer):
    """A line of a given slope, a text that belongs to no axes, and a button that lays the line flat."""

    size = (4.0, 3.0)

    def make_controls(self):
        return {
            "slope": W.FloatSlider(value=1.0, min=-2.0, max=2.0, step=0.1, description="slope"),
            "points": W.IntSlider(value=5, min=2, max=9, description="points"),
            "beta": W.FloatLogSlider(value=0.1, base=10, min=-2, max=1, step=0.1, description="beta"),
            "run": W.SelectionSlider(options=[("first", 1), ("second", 2)], description="recorded run"),
            "frame": W.Play(value=0, min=0, max=20, description="play"),
            "name": W.Text(value="line", description="name"),
        }

    def make_buttons(self):
        return {"Lay it flat": self.lay_flat, "Break it": self.break_it}

    def lay_flat(self):
        self.controls["slope"].value = 0.0

    def break_it(self):
        raise InputError("it does not break")

    def build(self, figure):
        ax = figure.subplots()
        ax.set(xlim=(-0.1, 1.1), ylim=(-2.2, 2.2))
        (self.line,) = ax.plot([], [], marker="o")
        self.title = figure.text(0.5, 0.97, "", va="top")
        self.moves = 0
        return self.line, self.title

    def move(self, *, slope, points, name, **others):
        if name == "refused":
            raise InputError("no such line; expected another name")
        x = np.linspace(0, 1, points)
        self.line.set_data(x, slope * x)
        self.title.set_text(f"slope {slope:.1f}")
        self.moves += 1

    def describe(self, *, slope, points, name, **others):
        return f"The {name} rises by {slope:.1f} over {points} points."


@pytest.fixture
def line():
    return Line()


def box_of(explorer, name: str):
    """The box that stands beside a slider."""
    row = next(row for row in explorer.children if explorer.controls[name] in getattr(row, "children", ()))
    return row.children[0]


def test_a_move_of_the_slider_moves_artists_picture_and_words(line):
    before = line.png
    line.controls["slope"].value = -1.0
    assert list(line.line.get_ydata()) == [0, -0.25, -0.5, -0.75, -1]
    assert line.words == "The line rises by -1.0 over 5 points."
    assert line.png != before
    assert line.png in line.view.value
    assert f'alt="{line.words}"' in line.view.value and f'<p role="status">{line.words}</p>' in line.view.value


def test_what_is_drawn_is_what_a_full_redraw_would_draw(line):
    """Blitting on the stored background leaves nothing of the earlier moves behind."""
    for slope in (2.0, -2.0, 0.5):
        line.controls["slope"].value = slope
    seen = pixels(line.png)
    for artist in line.moving:
        artist.set_animated(False)
    line.canvas.draw()
    assert np.abs(seen - np.asarray(line.canvas.buffer_rgba())[..., :3]).max() <= 1
    assert np.abs(seen - pixels(Line().png)).max() > 100


def test_a_text_outside_all_axes_is_drawn_too(line):
    with_title = pixels(line.png)
    line.title.set_visible(False)
    line.refresh()
    changed = np.abs(with_title - pixels(line.png)).max(axis=(1, 2)) > 0
    assert changed[:40].any()
    assert not changed[60:].any()


def test_the_newest_value_is_what_is_shown_at_the_end_and_every_move_is_drawn_once(line):
    line.moves = 0
    for slope in (0.3, 1.7, -0.4, 1.1):
        line.controls["slope"].value = slope
    assert line.moves == 4
    assert line.words == "The line rises by 1.1 over 5 points."
    assert line.line.get_ydata()[-1] == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("name", "values"),
    [("slope", (0.5, -2.0)), ("points", (2, 9)), ("beta", (1.0, 0.01)), ("run", (2, 1)), ("frame", (3, 20))],
)
def test_box_and_slider_stay_equal(line, name, values):
    slider, box = line.controls[name], box_of(line, name)
    assert box.value == slider.value
    slider.value = values[0]
    assert box.value == values[0]
    box.value = values[1]
    assert slider.value == values[1]


def test_a_value_in_the_box_moves_the_picture_once(line):
    line.moves = 0
    box_of(line, "slope").value = 0.25
    assert line.moves == 1
    assert line.line.get_ydata()[-1] == 0.25


def test_the_box_has_the_limits_of_its_slider(line):
    for name, low, high in (("slope", -2, 2), ("points", 2, 9), ("beta", 0.01, 10)):
        box = box_of(line, name)
        assert (box.min, box.max) == pytest.approx((low, high))
        box.value = 99
        assert line.controls[name].value == pytest.approx(high)


def test_the_box_of_a_logarithmic_slider_shows_four_digits_of_its_value(line):
    line.controls["beta"].value = 10**-0.7
    assert line.controls["beta"].value == pytest.approx(0.19952623)
    assert box_of(line, "beta").value == 0.1995


def test_the_box_does_not_show_the_noise_of_a_sliders_steps(line):
    """noUiSlider counts up from its minimum: -2 + 29 × 0.1 is 0.9000000000000004."""
    line.controls["slope"].value = 0.9000000000000004
    assert box_of(line, "slope").value == 0.9


def test_every_control_has_its_name_where_it_is_read(line):
    """The handle of a slider cannot have one: the box beside it has."""
    named = [box_of(line, name) for name in ("slope", "points", "beta", "run", "frame")] + [line.controls["name"]]
    assert [control.description for control in named] == ["slope", "points", "beta", "recorded run", "play", "name"]
    assert not line.controls["slope"].readout


def test_a_control_that_is_no_slider_stands_for_itself(line):
    assert line.controls["name"] in line.children
    line.controls["name"].value = "curve"
    assert line.words.startswith("The curve")


def test_a_click_acts_and_draws(line):
    press(line, "Lay it flat")
    assert line.controls["slope"].value == 0
    assert line.words == "The line rises by 0.0 over 5 points."
    line.controls["slope"].unobserve_all("value")
    line.controls["slope"].value = 2.0  # unheard, so that only the click can draw it
    line.moves = 0
    press(line, "Lay it flat")
    assert line.moves == 1


def test_a_refusal_is_said_and_the_picture_stays_until_the_next_move(line):
    before = line.png
    line.controls["name"].value = "refused"
    assert line.words == "no such line; expected another name"
    assert line.png == before
    assert before in line.view.value
    press(line, "Break it")
    assert '<p role="status">it does not break' in line.view.value
    line.controls["name"].value = "line"
    assert line.words == "The line rises by 1.0 over 5 points."


def test_picture_sentence_and_widget_are_what_a_notebook_keeps(line):
    data, metadata = line._repr_mimebundle_(include=None, exclude=None)
    assert data["image/png"] == line.png
    assert data["text/plain"] == line.words
    assert "application/vnd.jupyter.widget-view+json" in data
    assert metadata == {"image/png": {"alt": line.words}}


def test_the_image_keeps_its_place_while_it_is_decoded(line):
    assert 'width="400" height="300"' in line.view.value
    assert pixels(line.png).shape == (300, 400, 3)


def test_no_figure_is_left_open_in_pyplot(line):
    assert plt.get_fignums() == []


def test_values_are_those_of_the_controls_by_name(line):
    assert line.values == {"slope": 1.0, "points": 5, "beta": 0.1, "run": 1, "frame": 0, "name": "line"}


def test_the_first_picture_stands_at_once_and_two_explorers_do_not_share(line):
    other = Line()
    assert other.png == line.png
    other.controls["slope"].value = -2.0
    assert line.values["slope"] == 1.0
    assert math.isclose(line.line.get_ydata()[-1], 1.0)


def test_on_the_website_the_first_two_controls_move_unless_others_are_named(line):
    assert list(line.page_grid()) == ["slope", "points"]
    line.page_controls, line.page_pictures = ("beta",), 7
    (betas,) = line.page_grid().values()
    assert len(betas) == 7 and line.values["beta"] in betas


def test_to_go_to_a_place_sets_the_controls_and_draws(line):
    line.go_to(slope=-1.0, points=3)
    assert list(line.line.get_ydata()) == [0, -0.5, -1]
    assert line.words == "The line rises by -1.0 over 3 points."


def test_where_the_controls_alone_decide_a_picture_is_drawn_once_and_the_artists_still_move(monkeypatch):
    class Few(Line):
        draws_once = True

    few, drawn = Few(), []
    first, restore = few.png, few.canvas.restore_region  # which begins every picture
    monkeypatch.setattr(few.canvas, "restore_region", lambda still: drawn.append(few.values["slope"]) or restore(still))
    for slope in (-1.0, 1.0, -1.0, 0.5):
        few.controls["slope"].value = slope
        assert list(few.line.get_ydata())[-1] == slope
        assert f"rises by {slope}" in few.words
    assert drawn == [-1.0, 0.5]  # it began at 1.0
    few.controls["slope"].value = 1.0
    assert few.png == first
