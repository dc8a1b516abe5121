"""Which pairs each optimizer step sees, however the step is split."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpo_notes.training.order import epoch_steps

SIZE = {"batch_size": st.integers(1, 6), "accumulation_steps": st.integers(1, 5), "processes": st.integers(1, 4)}
ORDER = {"seed": st.integers(0, 2**32 - 1), "epoch": st.integers(0, 50)}


def lengths_of(count: int) -> list[int]:
    """Lengths of pairs that repeat and are in no order."""
    return [(7 * number) % 13 + 1 for number in range(count)]


def as_sets(steps: list) -> list[set[int]]:
    return [{number for microbatch in step for number in microbatch} for step in steps]


@given(count=st.integers(0, 90), **SIZE, **ORDER)
@settings(deadline=None, max_examples=300)
def test_each_pair_comes_once_an_epoch_and_every_process_has_work_of_at_most_batch_size(
    count, batch_size, accumulation_steps, processes, seed, epoch
):
    steps = epoch_steps(
        lengths_of(count),
        batch_size=batch_size,
        accumulation_steps=accumulation_steps,
        processes=processes,
        seed=seed,
        epoch=epoch,
    )
    seen = [number for step in steps for microbatch in step for number in microbatch]
    assert len(seen) == len(set(seen))
    assert set(seen) <= set(range(count))
    assert count - len(seen) < processes
    whole = batch_size * accumulation_steps * processes
    sizes = [sum(map(len, step)) for step in steps]
    assert sum(size < whole for size in sizes) <= 1
    for step, size in zip(steps, sizes, strict=True):
        assert size <= whole
        assert len(step) % processes == 0  # as many microbatches for each process
        assert len(step) <= accumulation_steps * processes
        microbatches = list(map(len, step))
        assert 1 <= min(microbatches) <= max(microbatches) <= min(batch_size, min(microbatches) + 1)


@given(count=st.integers(0, 90), **ORDER)
@settings(deadline=None)
def test_however_a_step_is_split_it_holds_the_same_pairs(count, seed, epoch):
    """8 at once, 8 microbatches of 1, 4 of 2, and 2 processes of 4; one process, so that no pair is left out."""
    rest = {"seed": seed, "epoch": epoch}
    at_once, *others = (
        epoch_steps(lengths_of(count), batch_size=b, accumulation_steps=a, processes=1, **rest)
        for b, a in ((8, 1), (1, 8), (2, 4))
    )
    two = epoch_steps(lengths_of(count), batch_size=4, accumulation_steps=1, processes=2, **rest)
    assert all(as_sets(other) == as_sets(at_once) for other in others)
    assert as_sets(two) == [pairs for pairs in as_sets(at_once) if len(pairs) >= 2]


def test_five_left_for_two_processes_of_one_pair_at_a_time():
    """13 pairs, 2 processes * 4 microbatches * 1 pair: 8, then 5, of which 4 make two rounds and one is left out."""
    steps = epoch_steps([1] * 13, batch_size=1, accumulation_steps=4, processes=2, seed=0, epoch=0)
    assert sorted([len(microbatch) for microbatch in step] for step in steps) == [[1] * 4, [1] * 8]


def test_the_last_step_is_split_as_evenly_as_can_be():
    """11 pairs in microbatches of at most 4: three, of 4, 4 and 3."""
    (step,) = epoch_steps([1] * 11, batch_size=4, accumulation_steps=3, processes=1, seed=0, epoch=0)
    assert [len(microbatch) for microbatch in step] == [4, 4, 3]


@pytest.mark.parametrize("changed", [{"seed": 1}, {"epoch": 1}])
def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else(changed):
    settings = {"batch_size": 4, "accumulation_steps": 1, "processes": 1, "seed": 0, "epoch": 0}
    first = epoch_steps(lengths_of(40), **settings)
    assert epoch_steps(lengths_of(40), **settings) == first
    assert epoch_steps(lengths_of(40), **settings | changed) != first


def test_like_lengths_come_together():
    """40 pairs, all in one pool of 32 batches: sorted by length, then cut, so each batch spans few lengths."""
    lengths = lengths_of(40)
    steps = epoch_steps(lengths, batch_size=4, accumulation_steps=1, processes=1, seed=0, epoch=0)
    spans = [{lengths[number] for number in pairs} for pairs in as_sets(steps)]
    assert max(max(span) - min(span) for span in spans) <= 2


@given(
    count=st.integers(0, 90),
    most=st.integers(1, 60),
    tokens=st.lists(st.integers(1, 40), min_size=90, max_size=90),
    **SIZE,
    **ORDER,
)
@settings(deadline=None)
def test_by_tokens_a_step_holds_the_same_pairs_in_microbatches_that_fit(
    count, most, tokens, batch_size, accumulation_steps, processes, seed, epoch
):
    """Only where there are fewer pairs than a multiple of the processes may two share a microbatch that is too large."""
    how = {"batch_size": batch_size, "accumulation_steps": accumulation_steps, "processes": processes}
    how |= {"seed": seed, "epoch": epoch}
    by_pairs = epoch_steps(lengths_of(count), **how)
    by_tokens = epoch_steps(lengths_of(count), **how, tokens=tokens, tokens_per_batch=most)
    assert as_sets(by_tokens) == as_sets(by_pairs)
    for step in by_tokens:
        assert len(step) % processes == 0 and all(step)
        over = [part for part in step if len(part) > 1 and sum(tokens[number] for number in part) > most]
        assert not over or len(step) + processes > sum(map(len, step))


def test_by_tokens_by_hand():
    """Four pairs of 3 tokens, at most 6 at once: two and two; for three processes one of these is halved."""
    how = {"batch_size": 4, "accumulation_steps": 1, "seed": 0, "epoch": 0, "tokens": [3] * 12, "tokens_per_batch": 6}
    assert [len(part) for part in epoch_steps([1] * 4, processes=1, **how)[0]] == [2, 2]
    assert [len(part) for part in epoch_steps([1] * 4, processes=3, **how)[0]] == [1, 1, 2]
    assert [len(part) for part in epoch_steps([1] * 4, processes=1, **how | {"tokens_per_batch": 2})[0]] == [1] * 4
