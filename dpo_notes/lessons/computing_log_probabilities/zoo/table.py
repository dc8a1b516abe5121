"""The table of the zoo: which fault fails which test, computed from the tests themselves."""

from collections.abc import Collection, Mapping
from functools import cache
from itertools import combinations

from dpo_notes.lessons.computing_log_probabilities.zoo.faults import FAULTS
from dpo_notes.lessons.computing_log_probabilities.zoo.named_tests import NAMED_TESTS
from dpo_notes.lessons.computing_log_probabilities.zoo.right import RIGHT, Pipeline

RIGHT_ONE = "the right code"
Table = Mapping[str, Mapping[str, str]]


def failures(pipeline: Pipeline) -> dict[str, str]:
    """The named tests that this pipeline fails, each with its message."""
    said = {}
    for test in NAMED_TESTS:
        try:
            test(pipeline)
        except AssertionError as symptom:
            said[test.__name__] = str(symptom)
    return said


@cache
def fault_table() -> Table:
    """`failures` of the right code, which has none, and of every fault, by its title. Takes seconds, once."""
    return {RIGHT_ONE: failures(RIGHT)} | {fault.title: failures(fault.pipeline) for fault in FAULTS}


def told_apart_by(table: Table, one: str, other: str) -> list[str]:
    """The tests that one of the two rows fails and the other passes, in order of NAMED_TESTS."""
    return [test.__name__ for test in NAMED_TESTS if (test.__name__ in table[one]) != (test.__name__ in table[other])]


def confused(table: Table, tests: Collection[str]) -> tuple[str, str] | None:
    """Two rows that these tests cannot tell apart, or None if they distinguish all, including the right code."""
    seen: dict[frozenset[str], str] = {}
    for title, failed in table.items():
        first = seen.setdefault(frozenset(failed) & frozenset(tests), title)
        if first != title:
            return first, title
    return None


def smallest_sets(table: Table) -> list[tuple[str, ...]]:
    """The smallest sets of tests that tell all rows apart; empty if no test tells some two rows apart."""
    names = [test.__name__ for test in NAMED_TESTS]
    for size in range(len(names) + 1):
        found = [tests for tests in combinations(names, size) if confused(table, tests) is None]
        if found:
            return found
    return []
