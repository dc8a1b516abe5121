"""Pairs in one row without padding, each prompt once: fewer tokens in every layer than two padded rows a pair."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dpo_notes.pairs.encode import EncodedPair


@dataclass(frozen=True)
class PackedPairs:
    """B pairs as one row: all prompts, then all chosen responses, then all rejected ones; every token once.

        prompt 1 | prompt 2 | chosen 1 | chosen 2 | rejected 1 | rejected 2

    Most of a Transformer works on tokens one by one, wherever they are: embedding, layer norms, the matrices of
    attention and feed-forward layers, the head. Two things depend on the place. Positions count from the beginning of
    the prompt in both of its responses. And attention sees, from a response, its own prompt and its own earlier tokens.
    For attention alone, the tokens are laid out in 2B ordinary rows [prompt response], each prompt in two of them.
    """

    input_ids: Int[Tensor, "1 length"]  # of the tokens, unless the row is filled up (`Segments`)
    position_ids: Int[Tensor, "1 length"]
    predicting_index: Int[
        Tensor, " response_tokens"
    ]  # of the token before each response token, at which it is predicted
    rows: Int[Tensor, "rows width"]  # the token at each place of the 2B rows, padded on the right; padding may be any
    place: Int[
        Tensor, " tokens"
    ]  # of each token in the flattened rows; of a prompt's, in the row of the chosen response
    again: Int[Tensor, " prompt_tokens"]  # the places of the prompts' tokens in the rows of the rejected responses
    segments: "Segments | None" = None  # where attention works on segments instead of rows (segments.py)

    def to(self, device: torch.device | str) -> "PackedPairs":
        """The same pairs on another device."""
        return _each_tensor(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "PackedPairs":
        """The same pairs in memory from which a GPU copies while it computes."""
        return _each_tensor(self, Tensor.pin_memory)

    @property
    def response_tokens(self) -> Int[Tensor, " response_tokens"]:
        """The tokens of all responses, in the order of the row."""
        return self.input_ids[0, len(self.again) : len(self.place)]


@dataclass(frozen=True)
class Segments:
    """Packed pairs as 3B queries, one for each prompt and each response, and what each of them sees.

    The row itself holds the queries. A prompt sees itself; a response sees its prompt and itself: the keys stand
    gathered in this order. If the row is filled up to a length, the filling is one more segment, which sees itself.
    """

    keys: Int[Tensor, " keys"]  # the token of each key
    query_starts: Int[Tensor, " bounds"]  # where each segment of the row begins, and its end; int32
    key_starts: Int[Tensor, " bounds"]
    own: Int[Tensor, " length"]  # for each token, a key that is it
    twice: Int[Tensor, "2 prompt_tokens"]  # for each token of a prompt, the two other keys that are it
    longest_query: int
    longest_keys: int


def pack_pairs(pairs: Sequence[EncodedPair]) -> PackedPairs:
    """Encoded pairs as one row."""
    prompts = [pair.prompt for pair in pairs]
    responses = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    ids = torch.tensor([token for sequence in prompts + responses for token in sequence])
    before = torch.tensor([len(prompt) for prompt in prompts])
    lengths = torch.tensor([len(response) for response in responses])
    border = int(before.sum())  # where the responses begin
    prompt_starts, starts = before.cumsum(0) - before, border + lengths.cumsum(0) - lengths
    before, prompt_starts = before.repeat(2), prompt_starts.repeat(2)  # one for each response

    columns = torch.arange(int((before + lengths).max()))
    in_prompt, real = columns < before[:, None], columns < (before + lengths)[:, None]
    rows = torch.where(in_prompt, prompt_starts[:, None], (starts - before)[:, None]) + columns
    places = torch.arange(rows.numel()).view_as(rows)
    of_prompts, of_responses = places[in_prompt], places[real & ~in_prompt]
    predicting = torch.arange(border, len(ids)) - 1
    predicting[starts - border] = prompt_starts + before - 1  # the last token of the prompt predicts the first
    place = torch.cat([of_prompts[:border], of_responses])
    return PackedPairs(
        input_ids=ids[None],
        position_ids=(place % len(columns))[None],
        predicting_index=predicting,
        rows=rows.where(real, 0),
        place=place,
        again=of_prompts[border:],
    )


def in_rows(
    logps: Float[Tensor, " response_tokens"], packed: PackedPairs
) -> tuple[Float[Tensor, "rows width"], Bool[Tensor, "rows width"]]:
    """(values of the response tokens where they stand in the rows, and 0 elsewhere; mask of their places)."""
    places = packed.place[len(packed.again) :]
    values = logps.new_zeros(packed.rows.numel()).index_copy(0, places, logps).view_as(packed.rows)
    return values, torch.zeros_like(values, dtype=torch.bool).view(-1).index_fill_(0, places, True).view_as(values)


def _each_tensor(record: PackedPairs | Segments, change: Callable[[Tensor], Tensor]) -> PackedPairs | Segments:
    """The record with each of its tensors changed."""
    changed = {}
    for part in fields(record):
        value = getattr(record, part.name)
        if isinstance(value, Tensor):
            changed[part.name] = change(value)
        elif isinstance(value, Segments):
            changed[part.name] = _each_tensor(value, change)
    return replace(record, **changed)
