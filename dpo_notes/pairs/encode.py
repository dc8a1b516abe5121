"""Comparisons as tokens: a clean border between prompt and response, end of text, and a rule for what is too long."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.chat import render
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.pairs.tokenizing import token_ids

MANY_CHARACTERS = 10_000  # from this length it pays to check whether a text can be cut before it is tokenized


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

    Border: prompt and response are tokenized separately, so no token spans both. Spaces at the end of a prompt move to
    the front of its responses, because byte-level BPE writes " word" as one token. Where the joined text would still be
    tokenized differently (a prompt that ends within a word), the border stays clean and there is a warning.
    End of text is appended to both responses. A prompt begins with the beginning-of-text token if the tokenizer itself
    begins a text with it (Llama's does, GPT-2's does not). An empty prompt always does, so that there is something to
    predict the first token of the response from.
    Too long: the prompt loses its beginning, down to half of `max_length`; then the response loses its end, and a
    response that was cut gets no end of text. Both responses keep the same prompt. One warning counts the cuts.
    Raises InputError for end of text within a text, because the model would see an end where the text goes on.
    """
    texts = [_numbered_texts(tokenizer, pair, number) for number, pair in enumerate(pairs, start=1)]
    return [EncodedPair(prompt, *responses) for prompt, responses in _encode_texts(tokenizer, texts, max_length)]


def encode_responses(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], responses: Sequence[str], *, max_length: int
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each prompt with its one response as (prompt, response) token ids, by the rules of `encode_pairs`.

    Raises InputError for another number of responses than of prompts, and for end of text within a response.
    """
    if len(prompts) != len(responses):
        raise InputError(f"{len(prompts)} prompts and {len(responses)} responses; expected as many of each")
    for number, response in enumerate(responses, start=1):
        if tokenizer.eos_token in response:
            raise InputError(f"response {number} holds {tokenizer.eos_token}; expected text without it: it is appended")
    texts = [_move_spaces(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]
    return [(prompt, response) for prompt, [response] in _encode_texts(tokenizer, texts, max_length)]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], *, max_length: int
) -> list[tuple[int, ...]]:
    """The prompts as token ids, for sampling, by the rules of `encode_pairs`: no spaces at the end, never empty.

    A prompt of more than `max_length` tokens loses its beginning; one warning counts such prompts.
    """
    texts = [text for [text] in _shorten(tokenizer, [(prompt.rstrip(" "),) for prompt in prompts], max_length)]
    ids = _begun(tokenizer, token_ids(tokenizer, texts))
    cut = sum(len(prompt) > max_length for prompt in ids)
    if cut:
        lost = f"{cut} of {len(ids)} prompts lost their beginning."
        warnings.warn(f"longer than {max_length} tokens: {lost}", stacklevel=2)
    return [tuple(prompt[-max_length:]) for prompt in ids]


def texts_to_encode(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> tuple[str, str, str]:
    """(prompt, chosen, rejected) as `encode_pairs` tokenizes them: rendered, and with the prompt's last spaces moved.

    Raises InputError for end of text within a text, and for messages that `render` refuses. As the `check` of
    `load_pairs`, `functools.partial(texts_to_encode, tokenizer)` finds such rows early, with their line.
    """
    for name in ("prompt", "chosen", "rejected"):
        texts = [getattr(pair, name)] if pair.is_text else [message.content for message in getattr(pair, name)]
        if any(tokenizer.eos_token in text for text in texts):
            raise InputError(f"{name} holds {tokenizer.eos_token}; expected text without it: it is appended")
    return _move_spaces(*render(tokenizer, pair))


def _numbered_texts(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair, number: int) -> tuple[str, str, str]:
    try:
        return texts_to_encode(tokenizer, pair)
    except InputError as error:
        raise InputError(f"pair {number}: {error}") from error


def _move_spaces(prompt: str, *responses: str) -> tuple[str, ...]:
    """The texts with the spaces at the end of the prompt moved to the front of its responses."""
    spaces = prompt[len(prompt.rstrip(" ")) :]
    return prompt.rstrip(" "), *(spaces + response for response in responses)


def _encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_length: int
) -> list[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """(prompt, responses) as token ids for each (prompt, response, …); warnings count straddling tokens and cuts."""
    if max_length < 2:
        raise InputError(f"max_length is {max_length}; expected at least 2 tokens, one each for prompt and response")
    texts = _shorten(tokenizer, texts, max_length)
    columns = [token_ids(tokenizer, column) for column in zip(*texts, strict=True)]
    response_count = sum(map(len, columns[1:]))
    straddling = _count_straddling(tokenizer, texts, columns)
    columns[:1] = [_begun(tokenizer, column) for column in columns[:1]]
    if straddling:
        warnings.warn(
            f"{straddling} of {response_count} responses: a token would straddle the border to the prompt, so it was "
            "split there. Begin responses with a space, or end prompts with a line break, to avoid this.",
            stacklevel=3,
        )
    encoded, cut_prompts, cut_responses = [], 0, 0
    for prompt, *responses in zip(*columns, strict=True):
        ended = [response + [tokenizer.eos_token_id] for response in responses]
        kept, cut = _fit(prompt, ended, max_length)
        encoded.append(kept)
        cut_prompts += cut[0]
        cut_responses += cut[1]
    if cut_prompts or cut_responses:
        warnings.warn(
            f"longer than {max_length} tokens: {cut_prompts} of {len(texts)} prompts lost their beginning and "
            f"{cut_responses} of {response_count} responses their end.",
            stacklevel=3,
        )
    return encoded


def _shorten(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_length: int
) -> Sequence[tuple[str, ...]]:
    """The texts without the part that cannot fit into `max_length` tokens, as no token is longer than the longest word.

    Megabytes would take a minute to tokenize, only to be thrown away.
    """
    if all(len(text) < MANY_CHARACTERS for row in texts for text in row):
        return texts
    most = (max_length + 1) * max(map(len, tokenizer.get_vocab()))  # so that what is too long stays too long
    return [(prompt[-most:], *(response[:most] for response in responses)) for prompt, *responses in texts]


def _count_straddling(tokenizer: PreTrainedTokenizerBase, texts: Sequence, columns: list) -> int:
    count = 0
    for side, responses in enumerate(columns[1:], start=1):
        joined = token_ids(tokenizer, [text[0] + text[side] for text in texts])
        count += sum(j != p + r for j, p, r in zip(joined, columns[0], responses, strict=True))
    return count


def _begun(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[list[int]]) -> list[list[int]]:
    """The prompts with beginning of text, where it belongs and no chat template has written it yet."""
    beginning = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    [nothing] = token_ids(tokenizer, [""], add_special_tokens=True)
    always = nothing[:1] == [beginning]
    return [prompt if prompt and (not always or prompt[0] == beginning) else [beginning, *prompt] for prompt in prompts]


def _fit(
    prompt: list, responses: list[list], max_length: int
) -> tuple[tuple[tuple[int, ...], list[tuple[int, ...]]], tuple[int, int]]:
    """(prompt, responses) within `max_length`, and how many prompts (0 or 1) and responses were cut."""
    room = max(max_length - max(map(len, responses)), max_length // 2)
    kept = prompt[-room:]
    space = max_length - len(kept)
    fitting = tuple(kept), [tuple(response[:space]) for response in responses]
    return fitting, (len(kept) < len(prompt), sum(len(response) > space for response in responses))
