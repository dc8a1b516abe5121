"""Several answers to the same prompts, side by side: before and after training, or from several models."""

import html
from collections.abc import Mapping, Sequence


class SideBySide:
    """A row for each prompt, with one text from each column; make it the last expression of a cell.

    columns: the texts by column heading, one text for each prompt.
    """

    def __init__(self, prompts: Sequence[str], columns: Mapping[str, Sequence[str]]):
        self.headings = ["prompt", *columns]
        self.rows = list(zip(prompts, *columns.values(), strict=True))

    def _repr_mimebundle_(self, **kwargs):
        head = "".join(f'<th style="text-align:left">{html.escape(heading)}</th>' for heading in self.headings)
        cell = '<td style="text-align:left;vertical-align:top">{}</td>'
        rows = ("".join(cell.format(html.escape(text.strip())) for text in row) for row in self.rows)
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return {"text/html": table, "text/plain": "\n".join(map(self._lines, self.rows))}

    def _lines(self, row: Sequence[str]) -> str:
        return "\n".join(f"{heading}: {text.strip()}" for heading, text in zip(self.headings, row, strict=True)) + "\n"
