"""Padded batches whose masks come from lengths, and orders that put like lengths together."""

from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensors import seeded

from dpo_notes.pairs.batches import Batch, batches_of_like_length, collate, collate_pairs, in_order_of_length
from dpo_notes.pairs.encode import EncodedPair

LENGTHS = [int(length) for length in torch.randint(5, 100, (1000,), generator=seeded())]


def padding(lengths: list[int], batches: list[list[int]]) -> int:
    """How many tokens of padding the batches hold."""
    return sum(max(lengths[index] for index in batch) * len(batch) for batch in batches) - sum(lengths)


def test_a_batch_by_hand():
    """Two pairs make four rows: both chosen, then both rejected. Only the tokens of responses are in the mask.

    Row by row, with 5 columns: 1 2|7 8 0, 3|9, 1 2|6, 3|5 4 5 0; flattened, the masked places are 2-4, 6, 12, 16-19.
    """
    batch = collate_pairs([EncodedPair((1, 2), (7, 8, 0), (6,)), EncodedPair((3,), (9,), (5, 4, 5, 0))])
    assert batch.input_ids.tolist() == [[1, 2, 7, 8, 0], [3, 9, 0, 0, 0], [1, 2, 6, 0, 0], [3, 5, 4, 5, 0]]
    assert batch.response_mask.int().tolist() == [[0, 0, 1, 1, 1], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 1]]
    assert batch.response_index.tolist() == [2, 3, 4, 6, 12, 16, 17, 18, 19]


tokens = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@given(st.lists(st.tuples(tokens, tokens), min_size=1, max_size=5))
def test_every_token_is_found_again_whatever_its_id(rows):
    """Token 0, which is also the padding, is like any other within a prompt or response."""
    prompts, responses = zip(*rows, strict=True)
    batch = collate(prompts, responses)
    for number, (prompt, response) in enumerate(rows):
        length = len(prompt) + len(response)
        assert batch.input_ids[number, :length].tolist() == prompt + response
        assert batch.response_mask[number].nonzero().flatten().tolist() == list(range(len(prompt), length))
    assert batch.input_ids.shape[1] == max(len(prompt) + len(response) for prompt, response in rows)
    assert batch.response_index.tolist() == batch.response_mask.flatten().nonzero().flatten().tolist()
    assert batch.input_ids.flatten()[batch.response_index].tolist() == list(chain(*responses))


def test_a_batch_moves_as_a_whole():
    batch = collate([(1,)], [(2, 3)]).to("meta")
    assert isinstance(batch, Batch)
    assert {getattr(batch, name).device.type for name in ("input_ids", "response_mask", "response_index")} == {"meta"}


@given(st.lists(st.integers(1, 50), max_size=80), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3))
def test_every_index_comes_once_in_batches_of_the_asked_size(lengths, batch_size, pool, seed):
    by_length = batches_of_like_length(lengths, batch_size, generator=seeded(seed), pool=pool)
    for batches in (by_length, in_order_of_length(lengths, batch_size)):
        assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
        sizes = sorted((len(batch) for batch in batches), reverse=True)
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        assert all(sizes)


def test_like_lengths_together_leave_little_padding():
    """Lengths of 5 to 99, mean about 52, in batches of 8: at random the longest of 8 is about 90, so 38 more a row."""
    plain = [list(range(start, start + 8)) for start in range(0, 1000, 8)]
    at_random = padding(LENGTHS, plain) / 1000
    together = padding(LENGTHS, batches_of_like_length(LENGTHS, 8, generator=seeded())) / 1000
    in_order = padding(LENGTHS, in_order_of_length(LENGTHS, 8)) / 1000
    assert at_random == pytest.approx(38, abs=3)
    assert in_order < together < 0.1 * at_random
    assert in_order < 1


def test_the_seed_alone_makes_the_order_and_each_draw_makes_another():
    generator = seeded(1)
    first, second = (batches_of_like_length(LENGTHS, 8, generator=generator) for _ in range(2))
    assert first == batches_of_like_length(LENGTHS, 8, generator=seeded(1))
    assert first != second and {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}


def test_short_and_long_batches_come_mixed():
    """Of 124 steps from one batch to the next about half go up (sigma about 3.2); in sorted pools nearly all would."""
    longest = [
        max(LENGTHS[index] for index in batch) for batch in batches_of_like_length(LENGTHS, 8, generator=seeded())
    ]
    assert 62 - 13 < sum(one < next_one for one, next_one in pairwise(longest)) < 62 + 13


def test_from_the_shortest_to_the_longest_by_hand():
    assert in_order_of_length([5, 1, 4, 2, 3], 2) == [[1, 3], [4, 2], [0]]
    assert in_order_of_length([], 2) == []
