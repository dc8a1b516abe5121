"""Text from elsewhere (names, data, models, errors), made harmless for the place where it is shown.

For HTML there is html.escape in the standard library.
"""

import html
import re
import unicodedata

# Control characters, including those that start a terminal command; surrogates; line and paragraph separators; and
# the marks that change the writing direction.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
BUT_LINES = re.compile(f"(?![\n\t]){CONTROLS.pattern}")
LINE_BREAK = re.compile("\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
INVISIBLE = {"Cf", "Zs", "Cc"}  # classes of characters that a spreadsheet may skip before a formula
FORMULA = "=+-@"
MARKUP = str.maketrans(
    {mark: html.escape(mark) for mark in "&<>\"'"} | {mark: f"&#{ord(mark)};" for mark in "\\`*_[]|~$!#"}
)


def for_terminal(text: str, *, lines: bool = False) -> str:
    r"""The text on one line, each control character written as in Python, \x1b; with `lines`, line breaks stay."""
    return (BUT_LINES if lines else CONTROLS).sub(lambda found: ascii(found[0])[1:-1], text)


def for_table(text: str) -> str:
    """The text on one line of a CSV cell. If it would begin a formula, an apostrophe is put before it.

    The same after a semicolon, which separates the cells in spreadsheets of many countries.
    """
    parts = CONTROLS.sub(" ", text).split(";")
    return ";".join(f"'{part}" if _begins_formula(part) else part for part in parts)


def for_markdown(text: str) -> str:
    """The text for a cell of a Markdown table: its own markup is escaped, and its line breaks stay in the cell."""
    escaped = LINE_BREAK.sub("<br>", text.strip().translate(MARKUP))
    return CONTROLS.sub("\N{REPLACEMENT CHARACTER}", escaped)


def _begins_formula(text: str) -> bool:
    first = next(
        (letter for letter in text if unicodedata.category(letter) not in INVISIBLE and letter not in "\"'"), ""
    )
    return unicodedata.normalize("NFKC", first)[:1] in FORMULA if first else False
