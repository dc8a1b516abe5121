"""Two ways of doing the same work, timed side by side."""

import statistics
import time
from collections.abc import Callable


def times_faster(slow: Callable[[], object], fast: Callable[[], object], *, rounds: int = 3) -> float:
    """How many times faster `fast` is than `slow`: the ratio of their median times over `rounds` alternations.

    Processor seconds of this process, all threads together, so that waiting for other programs does not count; on the
    CPU only. Alternating, so that a busy while slows both; each runs once before, uncounted. The ratio depends on the
    machine and is never the same twice. Known value: about 1 for a function beside itself.
    """
    seconds = {slow: [], fast: []}
    for work in seconds:
        work()
    for _ in range(rounds):
        for work in (slow, fast):
            start = time.process_time()
            work()
            seconds[work].append(time.process_time() - start)
    return statistics.median(seconds[slow]) / statistics.median(seconds[fast])
