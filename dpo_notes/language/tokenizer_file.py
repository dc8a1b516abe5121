"""What a tokenizer.json may ask for, checked before the tokenizer is built, as its native code cannot be stopped."""

from collections.abc import Iterator

from tokenizers import Regex, normalizers

from dpo_notes.maths.errors import InputError

MOST_GROWTH = 64  # the factor by which a tokenizer may lengthen a text; ordinary ones keep its length, or double it
PATTERN_CHARACTERS = 10_000  # in a regular expression; those of real tokenizers have a few hundred
ADDED_TOKENS = 100_000  # real tokenizers have a few thousand at most, and each takes 30 microseconds to add
LOOKS_AROUND = ("(?", r"\b", r"\B", r"\G", r"\K")  # what a match of no characters may be made of


def check_tokenizer_file(content: dict, *, name: str) -> None:
    """Raise InputError for a tokenizer.json that could multiply a text or run without end. `name`: for errors.

    A chain of six "a" -> "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" makes 729 million characters out of one, and memory runs out
    before time does. A file of the wrong form is left to the library, which refuses it.
    """
    added = content.get("added_tokens")
    if isinstance(added, list) and len(added) > ADDED_TOKENS:
        raise InputError(f"{name}: {len(added)} added tokens; expected at most {ADDED_TOKENS}")
    for pattern in _patterns(content):
        if len(pattern) > PATTERN_CHARACTERS:
            came = f"a regular expression of {len(pattern)} characters"
            raise InputError(f"{name}: {came}; expected at most {PATTERN_CHARACTERS}")
    for parts in (("normalizer", "pre_tokenizer"), ("decoder",)):
        growth = 1.0
        for part in parts:
            for step in _objects(content.get(part)):
                growth *= _growth(step)
        if growth > MOST_GROWTH:
            raise InputError(
                f"{name}: its {' and '.join(parts)} can make a text {growth:.3g} times as long; expected at most "
                f"{MOST_GROWTH} times, so look for a Replace or Prepend with long content"
            )
    if any(_regex(step) is not None for step in _objects(content.get("decoder"))):
        raise InputError(
            f"{name}: a regular expression in its decoder, which nothing can stop once it runs; expected plain text "
            "to replace"
        )


def _objects(value: object) -> Iterator[dict]:
    """Every object within a JSON value, the outer one first."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _objects(inner)


def _patterns(content: dict) -> Iterator[str]:
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        for step in _objects(content.get(part)):
            if (pattern := _regex(step)) is not None:
                yield pattern


def _regex(step: dict) -> str | None:
    pattern = step.get("pattern")
    regex = pattern.get("Regex") if isinstance(pattern, dict) else None
    return regex if isinstance(regex, str) else None


def _growth(step: dict) -> float:
    """The largest factor by which one step can lengthen a text of one character or more."""
    content = next((step[key] for key in ("content", "prepend") if isinstance(step.get(key), str)), "")
    if step.get("type") == "ByteLevel":  # writes most bytes as a character of two bytes
        return 2.0
    if step.get("type") == "Prepend":
        return 1.0 + len(content)
    if step.get("type") != "Replace":
        return 1.0
    pattern = step.get("pattern")
    literal = pattern.get("String") if isinstance(pattern, dict) else None
    if isinstance(literal, str) and literal:
        return max(1.0, len(content) / len(literal))
    regex = _regex(step)
    return 1.0 + len(content) if regex is None or _may_match_nothing(regex) else max(1.0, len(content))


def _may_match_nothing(regex: str) -> bool:
    """Whether the pattern may match between two characters, so that its content is added to the text."""
    if any(sign in regex for sign in LOOKS_AROUND):
        return True
    try:
        return normalizers.Replace(Regex(regex), "+").normalize_str("\0") != "\0"
    except BaseException:  # noqa: BLE001 - not a pattern, or a panic: the library will say so when it loads the file
        return True
