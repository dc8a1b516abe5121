"""A loop with start, pause and reset: no row after a pause, none from before a reset, and time for other tasks."""

import asyncio
import gc

import pytest
from hands_on import until

from dpo_notes.maths.errors import InputError
from dpo_notes.teaching.live_loop import BREATH, LiveLoop


def counting(last=None):
    """An iterator that counts from 1; `asked` is how many numbers were taken from it."""

    def begin():
        step = 0
        while last is None or step < last:
            step += 1
            begin.asked += 1
            yield {"step": step}

    begin.asked = 0
    return begin


def steps(loop):
    return [row["step"] for row in loop.rows]


def new_loop(begin, changed=lambda: None):
    return LiveLoop(begin, changed)


def test_after_a_pause_no_row_is_taken_and_a_start_goes_on_with_the_next_one():
    begin = counting()
    loop = new_loop(begin)

    async def reader():
        loop.start()
        await until(lambda: len(loop.rows) == 3)
        loop.pause()
        taken = begin.asked
        await asyncio.sleep(5 * BREATH)
        assert (loop.state, begin.asked) == ("paused", taken)
        loop.start()
        loop.start()  # a second click changes nothing
        await until(lambda: len(loop.rows) == taken + 2)
        loop.pause()

    asyncio.run(reader())
    assert steps(loop) == list(range(1, begin.asked + 1))


def test_a_pause_and_a_start_at_once_take_each_row_once():
    """The old task is not yet cancelled when the new one begins."""
    begin = counting()
    loop = new_loop(begin)

    async def reader():
        loop.start()
        await until(lambda: len(loop.rows) == 2)
        for _ in range(3):
            loop.pause()
            loop.start()
        await until(lambda: len(loop.rows) == 8)
        loop.pause()

    asyncio.run(reader())
    assert steps(loop) == list(range(1, begin.asked + 1))


def test_after_a_reset_a_start_begins_anew():
    loop = new_loop(counting())

    async def reader():
        loop.start()
        await until(lambda: len(loop.rows) == 3)
        loop.reset()
        assert (loop.state, loop.rows) == ("ready", [])
        await asyncio.sleep(3 * BREATH)
        assert loop.rows == []
        loop.start()
        await until(lambda: len(loop.rows) == 2)
        loop.pause()

    asyncio.run(reader())
    assert steps(loop)[:2] == [1, 2]


def test_others_run_between_two_rows():
    """A clock that looks every millisecond looks at least once a row."""
    loop = new_loop(counting())
    seen = set()

    async def reader():
        loop.start()
        await until(lambda: seen.add(len(loop.rows)) or len(loop.rows) >= 5)
        loop.pause()

    asyncio.run(reader())
    assert seen >= {1, 2, 3, 4}


def test_an_empty_row_is_not_kept_but_others_run_after_it_too():
    loop = new_loop(lambda: iter([{}, {"step": 1}, {}]))
    changes = []
    loop.changed = lambda: changes.append(len(loop.rows))

    async def reader():
        loop.start()
        await until(lambda: loop.state == "ended")

    asyncio.run(reader())
    assert (steps(loop), changes) == ([1], [0, 1, 1, 1])  # the last one is the end of the run


def test_a_run_that_is_over_says_so_until_it_is_reset():
    loop = new_loop(counting(last=2))

    async def reader():
        loop.start()
        await until(lambda: loop.state == "ended")
        with pytest.raises(InputError, match="Reset begins another"):
            loop.start()
        loop.pause()
        assert loop.state == "ended"
        loop.reset()
        loop.start()
        await until(lambda: loop.state == "ended")

    asyncio.run(reader())
    assert steps(loop) == [1, 2]


def test_an_error_is_kept_as_words_in_one_line_with_the_rows_before_it():
    def begin():
        yield {"step": 1}
        raise RuntimeError("step 2:\n the loss is gone")

    told = []
    loop = LiveLoop(begin, lambda: told.append(loop.problem))

    async def reader():
        loop.start()
        await until(lambda: loop.state == "failed")
        with pytest.raises(InputError, match="over"):
            loop.start()

    asyncio.run(reader())
    assert (steps(loop), told) == ([1], ["", "step 2: the loss is gone"])
    loop.reset()
    assert (loop.state, loop.problem) == ("ready", "")


def test_making_another_loop_pauses_the_one_before_and_tells_it():
    told = []
    first = LiveLoop(counting(), lambda: told.append(first.state))

    async def reader():
        first.start()
        await until(lambda: len(first.rows) == 2)
        second = new_loop(counting())
        taken = len(first.rows)
        second.start()
        await until(lambda: len(second.rows) == 3)
        assert (first.state, len(first.rows)) == ("paused", taken)
        second.pause()
        await asyncio.sleep(0)
        return asyncio.all_tasks() - {asyncio.current_task()}

    assert asyncio.run(reader()) == set()
    assert told[-1] == "paused"


def test_without_an_event_loop_it_says_what_is_missing():
    gc.collect()
    loop = new_loop(counting())
    with pytest.raises(InputError, match="running kernel"):
        loop.start()
    assert loop.state == "ready"
