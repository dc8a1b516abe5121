"""Comparisons: read from a file, a folder or the hub, and checked one by one."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.common_prefix import OTHER_TURN, message_border, text_border
from dpo_notes.pairs.embedded import EMBEDDED, data_folder
from dpo_notes.pairs.files import COLUMNS, KINDS, FileRow, find_file, read_rows
from dpo_notes.pairs.harmless import for_terminal
from dpo_notes.pairs.hub import hub_rows
from dpo_notes.pairs.messages import Messages, as_text_or_messages, check_one_form, check_prompt, check_response
from dpo_notes.pairs.wording import kind_of, listed

ON_BAD_ROW = ("stop", "skip")
SHOWN = 3  # bad rows that a warning shows
HUB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")


@dataclass(frozen=True)
class PreferencePair:
    """A prompt, the response that was preferred, and the response that was not: all text, or all chat messages.

    As text, `prompt` may be empty, and a response usually begins with the space or line break that separates it from
    the prompt. As chat, `prompt` is an optional system message, then user and assistant in turn, user last; each
    response is one assistant message. Lists of {"role", "content"} mappings are kept as tuples of Message, so that a
    pair is immutable and hashable. `place` says where the pair was read, "FILE, line N", so that you can find it again;
    it plays no part in comparing pairs. Raises InputError for any other form.
    """

    prompt: str | list | tuple
    chosen: str | list | tuple
    rejected: str | list | tuple
    place: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, as_text_or_messages(name, getattr(self, name)))
        check_one_form(prompt=self.prompt, chosen=self.chosen, rejected=self.rejected)
        if not self.is_text:
            check_prompt(self.prompt)
            check_response("chosen", self.chosen)
            check_response("rejected", self.rejected)

    @property
    def is_text(self) -> bool:
        """True for text, False for chat messages."""
        return isinstance(self.prompt, str)


def load_pairs(
    path_or_hub_name: str | PathLike,
    split: str | None = None,
    *,
    on_bad_row: str = "stop",
    check: Callable[[PreferencePair], object] | None = None,
) -> list[PreferencePair]:
    """The comparisons of a file, a folder, the repository or a hub data set, in their order, each one checked.

    `path_or_hub_name`: a .jsonl, .json, .csv or .parquet file with columns prompt, chosen and rejected (others are
    ignored); a folder with one such file for each split, like train.jsonl; "embedded" for the repository's own; or
    the name of a data set on the Hugging Face hub. `split`: "train" by default; a file has no other.
    `check(pair)` may reject more rows by raising InputError. `on_bad_row`: "stop" at the first bad row, or "skip" them:
    then one warning counts the skipped rows and shows the first three. Damage that hides the rows after it, such as a
    .json list that is cut off, always stops.

    If no row has a prompt, it is the common prefix of chosen and rejected (see `common_prefix`), and one warning says
    how it was cut. Another warning counts exact duplicates, which are kept. An empty prompt is allowed.

    Raises InputError with one line, "FILE, line N: what came; what was expected", for the first row that cannot be
    read, lacks a column, holds anything but text or chat messages, has an empty response, or has a chosen response
    equal to the rejected one; and for a file without rows, or without a good one.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise InputError(f"on_bad_row is {on_bad_row!r}; expected one of {', '.join(ON_BAD_ROW)}")
    source, rows = _open(path_or_hub_name, split)
    pairs: list[PreferencePair] = []
    seen: set[PreferencePair] = set()
    repeats: list[str] = []
    borders: Counter[str] = Counter()
    bad: list[str] = []
    with_prompt = None
    for row in rows:
        try:
            columns = _columns(row, with_prompt)
            pair, found = _checked_pair(row.place, columns, check)
        except InputError as error:
            if on_bad_row == "stop":
                raise
            bad.append(str(error))
            continue
        with_prompt = "prompt" in columns
        if pair in seen:
            repeats.append(row.place)
        pairs.append(pair)
        seen.add(pair)
        borders.update(found)
    if bad and not pairs:
        raise InputError(f"{source}: none of {len(bad)} rows is a comparison; {bad[0]}")
    if not pairs:
        raise InputError(f"{source}: no rows; expected at least one comparison")
    for note in _notes(source, len(pairs), bad=bad, borders=borders, repeats=repeats):
        warnings.warn(note, stacklevel=2)
    return pairs


def _notes(source: str, kept: int, *, bad: list[str], borders: Counter[str], repeats: list[str]) -> Iterator[str]:
    """What to warn of: skipped rows, prompts that were cut off, duplicates."""
    source, *repeats = map(for_terminal, [source, *repeats])
    if bad:
        first = "".join(f"\n  {for_terminal(message)}" for message in bad[:SHOWN])
        yield f"{source}: bad rows left out: {len(bad)} of {len(bad) + kept}. The first of them:{first}"
    if borders:
        counts = ", ".join(f"{border} in {count}" for border, count in borders.most_common())
        prompt = f"no prompt column (rows: {kept}); the prompt is the beginning that chosen and rejected share"
        yield f"{source}: {prompt}, cut {counts}"
    if repeats:
        counts = f"{len(repeats)} exact duplicates of earlier pairs ({kept} in all), which are kept"
        yield f"{repeats[0]}: the first of {counts}"


def check_content(pair: PreferencePair) -> None:
    """Raise InputError where a pair teaches nothing: an empty or white-space response, or two equal responses."""
    for name in ("chosen", "rejected"):
        response = getattr(pair, name)
        text = response if pair.is_text else response[0].content
        if not text.strip():
            raise InputError(f"{name} is {'only white space' if text else 'empty'}; expected a response")
    _check_differ(pair.chosen, pair.rejected)


def _check_differ(chosen: str | Messages, rejected: str | Messages) -> None:
    if chosen == rejected:
        raise InputError("chosen equals rejected, which teaches nothing; expected two different responses")


def _open(name: str | PathLike, split: str | None) -> tuple[str, Iterator[FileRow]]:
    """The name of the source, and its rows, none of them read yet."""
    wanted = "train" if split is None else split
    if name == EMBEDDED:
        path = find_file(data_folder() / "comparisons", wanted)
        return str(path), read_rows(path)
    path = Path(name)
    try:
        exists = name != "" and path.exists()
    except OSError as error:
        came = f"{str(name)!r:.300}: cannot be opened ({error.strerror})"
        raise InputError(f"{came}; expected a path or hub name") from error
    if exists and path.is_dir():
        path = find_file(path, wanted)
    elif exists and wanted != "train":
        raise InputError(
            f"{path}: one file has no split {split!r}; expected no split, or a folder with a file per split"
        )
    if exists:
        return str(path), read_rows(path)
    if not isinstance(name, str) or path.suffix.lower() in KINDS or not HUB_NAME.fullmatch(name):
        raise InputError(f"{str(name)!r:.300}: no such file or folder; expected one, {EMBEDDED!r} or a hub name")
    return f"{name} [{wanted}]", hub_rows(name, wanted)


def _columns(row: FileRow, with_prompt: bool | None) -> dict[str, object]:
    """The row's columns, checked by name. `with_prompt`: whether earlier rows had a prompt; None for the first row."""
    if isinstance(row.value, InputError):
        raise row.value
    if not isinstance(row.value, dict):
        raise InputError(f"{row.place}: {kind_of(row.value)}; expected an object with prompt, chosen and rejected")
    found = f"found: {listed(row.value)}"
    for name in ("chosen", "rejected"):
        if name not in row.value:
            raise InputError(f"{row.place}: no column {name!r}; {found}; expected chosen, rejected and usually prompt")
    if with_prompt is not None and with_prompt != ("prompt" in row.value):
        came, expected = ("no", "one") if with_prompt else ("a", "none")
        raise InputError(f"{row.place}: {came} column 'prompt'; {found}; expected {expected}, as in the rows before")
    return row.value


def _checked_pair(
    place: str, columns: dict[str, object], check: Callable[[PreferencePair], object] | None
) -> tuple[PreferencePair, list[str]]:
    """The pair of one row, and descriptions of where its prompt was cut off: none if the row had a prompt."""
    try:
        if "prompt" in columns:
            pair, found = PreferencePair(*(as_text_or_messages(name, columns[name]) for name in COLUMNS)), []
            check_content(pair)
        else:
            pair, found = _pair_without_prompt(columns["chosen"], columns["rejected"])
        if check is not None:
            check(pair)
        return replace(pair, place=place), found
    except InputError as error:
        raise InputError(f"{place}: {error}") from error


def _pair_without_prompt(chosen: object, rejected: object) -> tuple[PreferencePair, list[str]]:
    chosen, rejected = as_text_or_messages("chosen", chosen), as_text_or_messages("rejected", rejected)
    check_one_form(chosen=chosen, rejected=rejected)
    _check_differ(chosen, rejected)
    cut, border = (text_border if isinstance(chosen, str) else message_border)(chosen, rejected)
    try:
        pair = PreferencePair(chosen[:cut], chosen[cut:], rejected[cut:])
        check_content(pair)
    except InputError as error:
        raise InputError(f"after the shared beginning, which is the prompt, {error}") from error
    goes_on = pair.is_text and (OTHER_TURN in pair.chosen or OTHER_TURN in pair.rejected)
    return pair, [border, f"with a later {OTHER_TURN!r} in a response"] if goes_on else [border]
