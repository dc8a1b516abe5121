"""Explorers: sliders above a picture that Python draws again at every move."""

import html
from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets as W
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.grid import MOST, grid_of
from dpo_notes.teaching.picture import new_figure, picture_bundle, png_of

# The controls whose handles and keys have no name for a screen reader.
NAMELESS = (W.IntSlider, W.FloatSlider, W.FloatLogSlider, W.SelectionSlider, W.Play)


class Explorer(W.VBox):
    """Controls above a picture that follows them, and below it a sentence that says what the picture shows.

    A subclass defines

    - `make_controls()`: the widgets by name; readers see and hear their `description`,
    - `build(figure)`: draws everything that stays, and returns the artists that will move, in drawing order,
    - `move(**values)`: sets these artists to the controls' values,
    - `describe(**values)`: a sentence with the numbers of the current picture; called after `move`,

    and perhaps `make_buttons()`: the function to call at a click, by the words on the button. Axis limits stay as
    `build` left them. Only what moves is drawn again, on a stored image of the rest, in half the time of a full redraw.
    If a move or a click raises InputError, the picture stays and the sentence becomes the error message.
    A saved notebook keeps the picture and its sentence for readers without a kernel. On the website some controls work
    too, between pictures drawn in advance: the first two, or those that `page_controls` names.
    """

    size = (10.0, 3.4)  # inches
    draws_once = False  # True keeps every picture; for few, which depend on the controls alone
    page_controls: Sequence[str] = ()
    page_pictures = MOST  # at most; fewer if each is large

    def __init__(self):
        self.controls = self.make_controls()
        figure = new_figure(*self.size)
        self.canvas, self.moving = figure.canvas, list(self.build(figure))
        for artist in self.moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.still = self.canvas.copy_from_bbox(figure.bbox)
        self.view, self._pictures = W.HTML(), {}
        rows = _rows(list(self.controls.values()))
        buttons = [self._button(words, act) for words, act in self.make_buttons().items()]
        super().__init__([*rows, *([W.HBox(buttons)] if buttons else []), self.view])
        for control in self.controls.values():
            control.observe(lambda change: self.refresh(), "value")
        self._draw()

    def make_controls(self) -> dict[str, W.ValueWidget]:
        raise NotImplementedError

    def make_buttons(self) -> dict[str, Callable[[], None]]:
        return {}

    def build(self, figure: Figure) -> Sequence[Artist]:
        raise NotImplementedError

    def move(self, **values: object) -> None:
        raise NotImplementedError

    def describe(self, **values: object) -> str:
        raise NotImplementedError

    @property
    def values(self) -> dict[str, object]:
        """The controls' values by name."""
        return {name: control.value for name, control in self.controls.items()}

    def page_grid(self) -> dict[str, list]:
        """The controls that work on the website, with their values; every combination is drawn in advance."""
        can = [name for name, control in self.controls.items() if not isinstance(control, W.Text)]
        return grid_of(self.controls, self.page_controls or can[:2], most=self.page_pictures)

    def go_to(self, **place: object) -> None:
        """Show one combination of `page_grid`."""
        for name, value in place.items():
            self.controls[name].value = value

    def refresh(self) -> None:
        """Draw the picture and write its sentence again."""
        self._attempt(self._draw)

    def _draw(self) -> None:
        values = self.values
        self.move(**values)
        place = tuple(values.values())
        self.png = self._pictures.get(place) or self._picture()
        if self.draws_once:
            self._pictures[place] = self.png
        self._say(self.describe(**values))

    def _picture(self) -> str:
        self.canvas.restore_region(self.still)
        for artist in self.moving:
            artist.axes.draw_artist(artist) if artist.axes else self.canvas.figure.draw_artist(artist)
        return png_of(self.canvas)

    def _attempt(self, *actions: Callable[[], None]) -> None:
        """Call these in turn; an InputError is shown below the picture, which stays."""
        try:
            for action in actions:
                action()
        except InputError as problem:
            self._say(str(problem))

    def _say(self, sentence: str) -> None:
        self.words = sentence
        words, (width, height) = html.escape(sentence, quote=True), self.canvas.get_width_height()
        place = f'width="{width}" height="{height}" style="max-width:100%; height:auto"'  # so that nothing jumps
        picture = f'<img {place} alt="{words}" src="data:image/png;base64,{self.png}">'
        self.view.value = f'{picture}<p role="status">{words}</p>'  # one update for both

    def _button(self, words: str, act: Callable[[], None]) -> W.Button:
        button = W.Button(description=words, layout={"width": "auto"})
        button.on_click(lambda _: self._attempt(act, self._draw))
        return button

    def _repr_mimebundle_(self, **kwargs):
        data = super()._repr_mimebundle_(**kwargs)
        still, metadata = picture_bundle(self.png, self.words)
        return {**data, **still}, metadata


def _rows(controls: list[W.ValueWidget]) -> list[W.Widget]:
    """The controls one below another, with their names in one column."""
    in_column = [control for control in controls if isinstance(control, (*NAMELESS, W.Dropdown, W.Text))]
    width = 1 + 0.55 * max((len(control.description) for control in in_column), default=0)  # in em
    for control in in_column:
        control.style.description_width = f"{width:.1f}em"
    return [_labelled(control, width) if isinstance(control, NAMELESS) else control for control in controls]


def _labelled(control: W.ValueWidget, width: float) -> W.HBox:
    """A nameless control beside a linked box, which shows its name, `width` em wide, and takes exact values."""
    layout, style = {"width": f"{width + 7:.1f}em"}, {"description_width": f"{width:.1f}em"}
    box = _box_for(control)(description=control.description, layout=layout, style=style)
    digits = 4 if isinstance(control, W.FloatLogSlider) else 10  # its values end in rounding noise, 0.95000…01

    def rounded(value: object) -> object:
        return float(f"{value:.{digits}g}") if isinstance(value, float) else value

    W.link((control, "value"), (box, "value"), transform=(rounded, lambda value: value))
    if isinstance(control, W.IntSlider):
        W.link((control, "max"), (box, "max"))  # an explorer may change it
    control.description = ""
    if not isinstance(control, W.Play):
        control.readout = False
    return W.HBox([box, control])


def _box_for(control: W.ValueWidget) -> Callable[..., W.ValueWidget]:
    """The box for the values of a nameless control, still without its name."""
    if isinstance(control, W.SelectionSlider):
        return partial(W.Dropdown, options=control.options)
    low, high = control.min, control.max
    if isinstance(control, W.FloatLogSlider):  # its limits are exponents, and its step is one of exponents
        return partial(W.BoundedFloatText, min=control.base**low, max=control.base**high)
    kind = W.BoundedFloatText if isinstance(control, W.FloatSlider) else W.BoundedIntText
    return partial(kind, min=low, max=high, step=control.step)
