"""How an error describes what came: short and on one line, whatever the data."""

from collections.abc import Iterable


def kind_of(value: object) -> str:
    """What a value is, in the words of a JSON file: "null", "a number", "a list"."""
    kinds = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "text"}
    kinds |= {list: "a list", tuple: "a list", dict: "an object"}
    return kinds.get(type(value), f"a value of type {type(value).__name__}")


def listed(names: Iterable[object]) -> str:
    """At most eight names of at most 40 characters, in quotes, or "nothing"."""
    first = [f"{name!r:.40}" for name in names]
    return ", ".join(first[:8]) + (", …" if len(first) > 8 else "") or "nothing"


def one_line(error: Exception) -> str:
    """The message of a library's error on one line, in at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
