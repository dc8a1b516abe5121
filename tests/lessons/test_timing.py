"""Two ways timed side by side: the ratio is of medians, and both do the same number of rounds."""

import time

from dpo_notes.lessons.computing_log_probabilities.timing import times_faster


def test_the_ratio_is_of_the_medians_and_the_two_alternate(monkeypatch):
    """Slow takes 6, 6, 60 seconds, fast 2, 2, 2: medians 6 and 2."""
    clock, order = [0.0], []
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    durations = {"slow": iter([99, 6, 6, 60]), "fast": iter([99, 2, 2, 2])}

    def work(name):
        order.append(name)
        clock[0] += next(durations[name])

    assert times_faster(lambda: work("slow"), lambda: work("fast"), rounds=3) == 3
    assert order == ["slow", "fast"] * 4
