"""Some values of some controls, few enough that a picture of every combination can be drawn beforehand."""

import math
from collections.abc import Mapping, Sequence

import ipywidgets as W

MOST = 80  # combinations
CHOICES = (W.Dropdown, W.SelectionSlider)


def grid_of(controls: Mapping[str, W.ValueWidget], names: Sequence[str], *, most: int = MOST) -> dict[str, list]:
    """Values of the named controls, in order, so that there are at most `most` combinations.

    A list to choose from keeps all that it has. The sliders share the rest fairly: one with few notches keeps them, of
    the others some are taken, evenly spread, with both ends and the value that is set now.
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
    """All values that a slider, a choice or a check box can take, in order."""
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
    """The options of a choice, each as (words, value)."""
    options = control.options.items() if isinstance(control.options, Mapping) else control.options
    return [option if isinstance(option, tuple) else (str(option), option) for option in options]


def spread(values: Sequence, now: object, count: int) -> list:
    """At most `count` of the values, evenly spread in their order, with both ends (from two on) and `now`.

    A number that is not among the values takes the place of the nearest.
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
    """At most `count` places in a list of this length."""
    count = min(count, length)
    return {round(number * (length - 1) / max(count - 1, 1)) for number in range(count)}
