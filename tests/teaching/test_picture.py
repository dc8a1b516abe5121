"""A picture is the figure's own pixels, with its sentence, and leaves nothing open."""

import matplotlib.pyplot as plt
import numpy as np
from hands_on import pixels
from matplotlib.figure import Figure

from dpo_notes.teaching.picture import Picture, new_figure, picture_bundle, png_of


def test_the_png_holds_the_pixels_of_the_canvas():
    figure = new_figure(3, 2)
    figure.subplots().plot([1, 3, 2], color="#D55E00")
    figure.canvas.draw()
    assert np.array_equal(pixels(png_of(figure.canvas)), np.asarray(figure.canvas.buffer_rgba())[..., :3])
    assert len(np.unique(pixels(png_of(figure.canvas)).reshape(-1, 3), axis=0)) > 10


def test_a_new_figure_has_its_inches_at_100_pixels_and_is_unknown_to_pyplot():
    figure = new_figure(4, 2.5)
    figure.subplots()
    assert pixels(Picture(figure, "an empty square").png).shape == (250, 400, 3)
    assert plt.get_fignums() == []


def test_a_figure_of_any_origin_can_be_shown():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1])
    assert len(np.unique(pixels(Picture(figure, "a rising line").png))) > 2


def test_a_notebook_keeps_the_picture_and_its_sentence():
    picture = Picture(new_figure(1, 1), "nothing yet")
    data, metadata = picture._repr_mimebundle_(include=None, exclude=None)
    assert data == {"image/png": picture.png, "text/plain": "nothing yet"}
    assert metadata == {"image/png": {"alt": "nothing yet"}}
    assert picture_bundle(picture.png, "nothing yet") == (data, metadata)


def test_the_same_figure_gives_the_same_bytes():
    def drawn() -> str:
        figure = new_figure(2, 2)
        figure.subplots().bar(["a", "b"], [1, 2])
        return Picture(figure, "b is twice a").png

    assert drawn() == drawn()
