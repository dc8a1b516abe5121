"""Every row of the loop comes through, and the last picture shows them all."""

import pytest

from dpo_notes.teaching import watch as module
from dpo_notes.teaching.watch import watch


@pytest.fixture
def shown(monkeypatch):
    """What was shown, in order; the first by display, the others by an update of the same place."""
    pictures = []

    class Handle:
        def update(self, picture):
            pictures.append(("update", picture))

    def display(picture, *, display_id):
        pictures.append(("display", picture))
        return Handle()

    monkeypatch.setattr(module, "display", display)
    return pictures


def rows(count):
    return ({"step": step} for step in range(1, count + 1))


def last_step(seen):
    return seen[-1]["step"]


def test_every_row_passes_and_the_last_picture_shows_all(shown):
    assert [row["step"] for row in watch(rows(5), last_step, seconds=0)] == [1, 2, 3, 4, 5]
    assert shown == [("display", 1), *(("update", step) for step in (2, 3, 4, 5, 5))]


def test_pictures_wait_for_their_time(shown):
    list(watch(rows(50), last_step, seconds=3600))
    assert shown == [("display", 1), ("update", 50)]


def test_what_is_added_to_a_row_in_the_loop_is_in_the_next_picture(shown):
    for row in watch(rows(2), lambda seen: [one.get("held out") for one in seen], seconds=3600):
        row["held out"] = 10 * row["step"]
    assert shown[-1] == ("update", [10, 20])


def test_a_loop_that_is_left_or_fails_keeps_its_picture(shown):
    for row in watch(rows(9), last_step, seconds=3600):
        if row["step"] == 4:
            break
    assert shown[-1] == ("update", 4)

    def failing():
        yield {"step": 1}
        yield {"step": 2}
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        list(watch(failing(), last_step, seconds=3600))
    assert shown[-1] == ("update", 2)


def test_a_loop_without_rows_shows_nothing(shown):
    assert list(watch([], last_step)) == [] and shown == []
