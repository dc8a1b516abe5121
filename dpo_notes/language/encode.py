"""Comparisons as tokens: a clean border between prompt and response, end of text, and a stated rule for what is too long."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from dpo_notes.language.chat import render
from dpo_notes.language.pairs import PreferencePair
from dpo_notes.maths.errors import InputError


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of one comparison. The responses end in end of text, unless they were cut."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens of the longer of the two sequences."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], *, max_length: int
) -> list[EncodedPair]:
    """The pairs as token ids, each sequence at most `max_length` tokens.

    Border: prompt and response are tokenized apart, so no token holds a piece of both. Spaces that end a prompt go to
    the front of its responses, because byte-level BPE writes " word" as one token. Where the text put together would
    still be tokenized otherwise (a prompt that ends within a word), the border stays clean and the user is warned.
    End of text is appended to both responses. An empty prompt becomes the beginning-of-text token, so that the first
    token of the response has something that predicts it.
    Too long: the prompt loses its beginning, down to half of `max_length`; then the response its end, and what was
    cut off there gets no end of text. Both responses keep the same prompt. One warning counts what was cut.
    Raises InputError for end of text within a text: the model would see an end where the text goes on.
    """
    if max_length < 2:
        raise InputError(f"max_length is {max_length}; expected at least 2 tokens, one each for prompt and response")
    texts = [_texts(tokenizer, pair, number) for number, pair in enumerate(pairs, start=1)]
    columns = [_encode(tokenizer, column) for column in zip(*texts, strict=True)] if texts else [[], [], []]
    straddling = _count_straddling(tokenizer, texts, columns)
    if straddling:
        warnings.warn(
            f"{straddling} of {2 * len(texts)} responses: a token would straddle the border to the prompt; it is cut at "
            "the border. Begin responses with a space, or end prompts with a line break, to avoid this.",
            stacklevel=2,
        )
    encoded, cut_prompts, cut_responses = [], 0, 0
    for prompt, chosen, rejected in zip(*columns, strict=True):
        start = prompt or [_beginning(tokenizer)]
        pair, cut = _fit(start, chosen + [tokenizer.eos_token_id], rejected + [tokenizer.eos_token_id], max_length)
        encoded.append(pair)
        cut_prompts += cut[0]
        cut_responses += cut[1]
    if cut_prompts or cut_responses:
        warnings.warn(
            f"longer than {max_length} tokens: {cut_prompts} of {len(texts)} prompts lost their beginning and "
            f"{cut_responses} of {2 * len(texts)} responses their end.",
            stacklevel=2,
        )
    return encoded


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], *, max_length: int
) -> list[tuple[int, ...]]:
    """The prompts as token ids, for sampling, by the rules of `encode_pairs`: no spaces at the end, never empty.

    A prompt of more than `max_length` tokens loses its beginning; one warning counts such prompts.
    """
    ids = [ids or [_beginning(tokenizer)] for ids in _encode(tokenizer, [prompt.rstrip(" ") for prompt in prompts])]
    cut = sum(len(prompt) > max_length for prompt in ids)
    if cut:
        warnings.warn(
            f"longer than {max_length} tokens: {cut} of {len(ids)} prompts lost their beginning.", stacklevel=2
        )
    return [tuple(prompt[-max_length:]) for prompt in ids]


def _texts(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair, number: int) -> tuple[str, str, str]:
    for name in ("prompt", "chosen", "rejected"):
        texts = [getattr(pair, name)] if pair.is_text else [message.content for message in getattr(pair, name)]
        if any(tokenizer.eos_token in text for text in texts):
            raise InputError(
                f"pair {number}: {name} holds {tokenizer.eos_token}; expected text without it: it is appended"
            )
    try:
        prompt, chosen, rejected = render(tokenizer, pair)
    except InputError as error:
        raise InputError(f"pair {number}: {error}") from error
    spaces = prompt[len(prompt.rstrip(" ")) :]
    return prompt.rstrip(" "), spaces + chosen, spaces + rejected


def _encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    if not texts:
        return []
    # Not verbose, because transformers would warn of texts longer than the context, which are cut here by our own rule.
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def _count_straddling(tokenizer: PreTrainedTokenizerBase, texts: list, columns: list) -> int:
    prompts = columns[0]
    count = 0
    for side in (1, 2):
        joined = _encode(tokenizer, [text[0] + text[side] for text in texts])
        count += sum(j != p + r for j, p, r in zip(joined, prompts, columns[side], strict=True))
    return count


def _beginning(tokenizer: PreTrainedTokenizerBase) -> int:
    return tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id


def _fit(prompt: list, chosen: list, rejected: list, max_length: int) -> tuple[EncodedPair, tuple[int, int]]:
    """The pair within `max_length`, and how many prompts (0 or 1) and responses (0 to 2) were cut."""
    room = max(max_length - max(len(chosen), len(rejected)), max_length // 2)
    kept = prompt[-room:]
    space = max_length - len(kept)
    pair = EncodedPair(tuple(kept), tuple(chosen[:space]), tuple(rejected[:space]))
    return pair, (len(kept) < len(prompt), (len(chosen) > space) + (len(rejected) > space))
