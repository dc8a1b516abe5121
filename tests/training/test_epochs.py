"""The next batch is prepared while the device works with this one."""

import threading
import time

import pytest

from dpo_notes.training.epochs import one_ahead


def test_items_come_in_order_each_made_once():
    made = []
    assert list(one_ahead(lambda item: made.append(item) or 10 * item, range(5))) == [0, 10, 20, 30, 40]
    assert made == [0, 1, 2, 3, 4]
    assert list(one_ahead(str, [])) == []


def test_the_next_one_is_made_meanwhile_and_no_more_than_that():
    begun = [threading.Event() for _ in range(4)]
    items = one_ahead(lambda item: begun[item].set() or item, range(4))
    assert next(items) == 0
    assert begun[1].wait(timeout=10)  # in its thread, though nobody has asked for it
    time.sleep(0.05)
    assert not begun[2].is_set()


def test_an_error_in_the_thread_is_raised_where_its_item_is_asked_for():
    items = one_ahead(lambda item: 1 / (1 - item), range(3))
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)
