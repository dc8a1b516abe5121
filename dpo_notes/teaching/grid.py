"""A few values of each control, so that the picture of every combination can be drawn in advance."""

import math
from collections.abc import Mapping, Sequence

import ipywidgets as W

MOST = 80  # combinations
CHOICES = (W.Dropdown, W.SelectionSlider)


def grid_of(controls: Mapping[str, W.ValueWidget], names: Sequence[str], *, most: int = MOST) -> dict[str, list]:
    """Values of the named controls, in order, with at most `most` combinations.

    A dropdown keeps all of its options. The sliders share the rest evenly: a short one keeps all of its notches, a
    longer one some of them, evenly spaced, with both ends and the current value.
    """
    values = {name: values_of(controls[name]) for name in names}
    counts, room = {}, most
    listed = {name: isinstance(controls[name], W.Dropdown) for name in names}
    in_turn = sorted(names, key=lambda name: (not listed[name], len(values[name])))
    for left, name in zip(range(len(names), 0, -1), in_turn, strict=True):
        share = room if listed[name] else math.floor(room ** (1 / left) + 1e-9)
        counts[name] = min(len(values[name]), share)
        room //= counts[name]
    return {name: spread(values[name], controls[name].value, counts[name]) for name in names}


def values_of(control: W.ValueWidget) -> list:
    """All values that a slider, a dropdown or a check box can take, in order."""
    if isinstance(control, CHOICES):
        return [value for _, value in named_values(control)]
    if isinstance(control, W.Checkbox):
        return [False, True]
    steps = range(1 + math.floor((control.max - control.min) / control.step + 1e-9))
    places = [control.min + step * control.step for step in steps]
    if isinstance(control, W.FloatLogSlider):
        return [float(f"{control.base**place:.4g}") for place in places]
    return [float(f"{place:.10g}") if isinstance(control, W.FloatSlider) else place for place in places]


def named_values(control: W.Dropdown | W.SelectionSlider) -> list[tuple[str, object]]:
    """The options of a dropdown or a selection slider, each as (words, value)."""
    options = control.options.items() if isinstance(control.options, Mapping) else control.options
    return [option if isinstance(option, tuple) else (str(option), option) for option in options]


def spread(values: Sequence, now: object, count: int) -> list:
    """At most `count` of the values, in order and evenly spaced, with both ends (if `count` > 1) and `now`.

    If `now` is a number between the values, it replaces the nearest one.
    """
    values = list(values)
    if now in values:
        here = values.index(now)
    else:
        here = min(range(len(values)), key=lambda place: abs(values[place] - now))
        values[here] = now
    picked = evenly(len(values), count)
    if here not in picked:
        picked = evenly(len(values), count - 1) | {here}
    return [values[place] for place in sorted(picked)]


def evenly(length: int, count: int) -> set[int]:
    """At most `count` positions in a list of this length, evenly spaced, with both ends if there are two."""
    count = min(count, length)
    return {round(number * (length - 1) / max(count - 1, 1)) for number in range(count)}
