"""Text that came from elsewhere (names, data, models, errors), made harmless for the place where it is shown.

HTML has its function in the standard library: html.escape.
"""

import html
import re
import unicodedata

# Control characters, among them those that begin a terminal's commands; surrogates; line and paragraph separators; and
# the marks that turn the direction of what follows.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
BUT_LINES = re.compile(f"(?![\n\t]){CONTROLS.pattern}")
LINE_BREAK = re.compile("\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
INVISIBLE = {"Cf", "Zs", "Cc"}  # classes of characters that a spreadsheet may skip before a formula
FORMULA = "=+-@"
MARKUP = str.maketrans(
    {mark: html.escape(mark) for mark in "&<>\"'"} | {mark: f"&#{ord(mark)};" for mark in "\\`*_[]|~$!#"}
)


def for_terminal(text: str, *, lines: bool = False) -> str:
    r"""The text on one line, each control character as Python writes it, such as \x1b; with `lines`, line breaks stay."""
    return (BUT_LINES if lines else CONTROLS).sub(lambda found: ascii(found[0])[1:-1], text)


def for_table(text: str) -> str:
    """The text on one line of a CSV cell. Where it would begin a formula, an apostrophe stands before it.

    Also after a semicolon, at which spreadsheets of many countries part the cells.
    """
    parts = CONTROLS.sub(" ", text).split(";")
    return ";".join(f"'{part}" if _begins_formula(part) else part for part in parts)


def for_markdown(text: str) -> str:
    """The text as it is, for a cell of a Markdown table: no markup of its own, and line breaks that stay in the cell."""
    escaped = LINE_BREAK.sub("<br>", text.strip().translate(MARKUP))
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", escaped)


def _begins_formula(text: str) -> bool:
    first = next(
        (letter for letter in text if unicodedata.category(letter) not in INVISIBLE and letter not in "\"'"), ""
    )
    return unicodedata.normalize("NFKC", first)[:1] in FORMULA if first else False
