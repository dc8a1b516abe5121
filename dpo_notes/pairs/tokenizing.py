"""Text to token ids and back, by a tokenizer from anywhere: in limited time, with every failure in one line."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from transformers import PreTrainedTokenizerBase

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.bounded import OverLimit, run_native
from dpo_notes.pairs.wording import one_line

T = TypeVar("T")
CHARACTERS_AT_ONCE = 500_000  # slow tokenizers take a few seconds for them, most a tenth of a second
SECONDS_AT_ONCE = 30.0  # proportionally more for a single longer text


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, add_special_tokens: bool = False
) -> list[list[int]]:
    """The token ids of each text. Raises InputError where the tokenizer fails, or takes longer than SECONDS_AT_ONCE."""
    found: list[list[int]] = []
    for part in _parts(texts):
        seconds = SECONDS_AT_ONCE * max(1.0, sum(map(len, part)) / CHARACTERS_AT_ONCE)
        # verbose would warn of texts longer than the context, which are cut by our own rule.
        found += _within(
            lambda part=part: tokenizer(part, add_special_tokens=add_special_tokens, verbose=False)["input_ids"],
            seconds=seconds,
            doing=f"turn {len(part)} texts into tokens",
        )
    return found


def texts_of(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Sequence[int]]) -> list[str]:
    """The text of each row of token ids, without special tokens. Raises InputError where the tokenizer fails."""
    return _within(
        lambda: [tokenizer.decode(list(ids), skip_special_tokens=True) for ids in rows],
        seconds=SECONDS_AT_ONCE * max(1.0, sum(map(len, rows)) / CHARACTERS_AT_ONCE),
        doing=f"turn {len(rows)} rows of tokens into text",
    )


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in order, some at a time, because a time limit for all of them would have to be hours."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and size + len(text) > CHARACTERS_AT_ONCE:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part


def _within(call: Callable[[], T], *, seconds: float, doing: str) -> T:
    try:
        return run_native(call, seconds=seconds)
    except OverLimit:
        raise InputError(
            f"the tokenizer did not {doing} within {seconds:.0f} seconds; expected one that does (does a regular "
            "expression in its tokenizer.json backtrack without end?)"
        ) from None
    except Exception as error:
        raise InputError(
            f"the tokenizer cannot {doing} ({one_line(error)}); expected one that can: check its tokenizer.json and "
            "tokenizer_config.json"
        ) from error
