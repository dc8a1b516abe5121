"""Tokens as a reader can see them."""

from collections.abc import Sequence
from functools import cache

from jaxtyping import Int
from matplotlib.font_manager import FontProperties, findfont, get_font
from torch import Tensor
from transformers import PreTrainedTokenizerBase

SPACE, LINE_END, NO_GLYPH = "␣", "⏎", "□"


def token_words(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int] | Int[Tensor, " tokens"]) -> list[str]:
    """Each token's text, with its spaces and line ends made visible; "end of text" for the end-of-text token.

    Known value: "␣Shanghai" for the token of " Shanghai". A byte-level token with part of a letter shows as "�".
    """
    ends = {tokenizer.eos_token_id: "end of text"}
    return [ends.get(token) or visible(tokenizer.decode([token])) for token in map(int, ids)]


def visible(text: str) -> str:
    """The text with its spaces and line ends made visible."""
    return text.replace(" ", SPACE).replace("\n", LINE_END)


def drawable(text: str) -> str:
    """The text with a box for every character that the figures' font lacks, such as Chinese ones."""
    glyphs = _glyphs()
    return "".join(letter if ord(letter) in glyphs else NO_GLYPH for letter in text)


@cache
def _glyphs() -> dict[int, int]:
    return get_font(findfont(FontProperties())).get_charmap()
