"""Two ways of doing the same work, timed side by side."""

import statistics
import time
from collections.abc import Callable


def times_faster(slow: Callable[[], object], fast: Callable[[], object], *, rounds: int = 3) -> float:
    """How many times faster `fast` is than `slow`: the ratio of their median times over `rounds` alternations.

    Measured in CPU seconds of this process, summed over threads, so waiting for other programs does not count. The two
    alternate, so that a busy machine slows both; each runs once before, uncounted. The ratio varies with the machine
    and from run to run. Known value: about 1 for a function against itself.
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
