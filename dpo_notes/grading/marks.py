"""Marks: the package's own checkers judge the answers of a returned notebook."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from dpo_notes.grading.answers import received
from dpo_notes.grading.run_submission import OUT_OF_TIME, Limits, Outcome, run_submission
from dpo_notes.grading.submissions import Submission
from dpo_notes.teaching.checking import NOT_TRIED, RIGHT, Exercise, exercises_of, verdict

PEERS, SLOWER, LEAST, FOREVER = 3, 10, 30.0, float("inf")  # a limit: SLOWER times the median of PEERS, or LEAST
MARKS = {RIGHT: "right", NOT_TRIED: "not tried"}  # every other verdict is wrong


@dataclass(frozen=True)
class Marked:
    """One submission with the checker's verdict on each of its notebook's exercises, in order.

    remark: why it did not run to its end, or what its cells raised; empty if all went well.
    """

    submission: Submission
    verdicts: dict[str, str]
    remark: str = ""

    @property
    def marks(self) -> dict[str, str]:
        """ "right", "wrong" or "not tried" for each exercise."""
        return {number: MARKS.get(verdict, "wrong") for number, verdict in self.verdicts.items()}

    @property
    def right(self) -> int:
        """How many exercises are right."""
        return list(self.marks.values()).count(MARKS[RIGHT])


def mark_all(
    found: Sequence[Submission], limits: Limits, *, at_once: int = 1, hidden: Sequence[Path] = ()
) -> Iterator[Marked]:
    """The marked submissions, `at_once` of them at a time; in order, but any that is slow before there is a pace comes last."""
    # PyTorch's threads spin while they wait: with more of them than cores, a notebook hardly gets on.
    limits = replace(limits, threads=max(1, limits.threads // at_once))
    pace, alike, later = defaultdict(list), Counter(one.number for one in found), []
    first = [FOREVER if alike[one.number] <= PEERS or limits.seconds <= LEAST else LEAST for one in found]
    run = lambda one, unpaced: mark(one, limits, pace[one.number], unpaced, hidden=hidden)
    with ThreadPoolExecutor(at_once) as workers:
        for one, marked in zip(found, workers.map(run, found, first), strict=True):
            later += [one] * (marked is None)
            yield from filter(None, [marked])
        yield from workers.map(run, later, [FOREVER] * len(later))


def mark(
    submission: Submission, limits: Limits, pace: list[float], unpaced: float = FOREVER, *, hidden: Sequence[Path] = ()
) -> Marked | None:
    """One marked submission; what goes wrong is a remark. `pace` holds the seconds that others of its notebook took.

    unpaced: its seconds while `pace` is too short; None if they were up before it was known whether it is slow.
    """
    exercises = exercises_of(submission.number)
    outcome, remark = Outcome(finished=True), submission.problem
    if exercises and not submission.problem:
        try:
            slow = lambda unpaced: max(LEAST, SLOWER * median(pace)) if len(pace) >= PEERS else unpaced
            start, limits = time.monotonic(), replace(limits, patience=lambda: slow(unpaced))
            outcome = run_submission(submission, exercises, limits, hidden=hidden)
            took = time.monotonic() - start
            if unpaced < FOREVER and outcome.stopped.startswith(OUT_OF_TIME) and took < slow(FOREVER):
                return None
            pace += [took] * outcome.finished
            remark = _remark(outcome)
        except Exception as error:  # noqa: BLE001  one notebook must not end the marking of a class
            outcome, remark = Outcome(), f"could not be run: {type(error).__name__}: {error}"
    remark = "; ".join(filter(None, ["run without a sandbox" if limits.unconfined else "", remark]))
    return Marked(submission, {exercise.number: judged(exercise, outcome) for exercise in exercises}, remark)


def judged(exercise: Exercise, outcome: Outcome) -> str:
    """The checker's verdict on a notebook's last answer to an exercise."""
    if exercise.number not in outcome.answers:
        return NOT_TRIED
    try:
        return verdict(exercise, received(outcome.answers[exercise.number], asks_for_function=bool(exercise.cases)))
    except Exception as error:  # noqa: BLE001  an answer made to break the checker is a wrong answer
        return f"not yet: this cannot be judged ({type(error).__name__})"


def _remark(outcome: Outcome) -> str:
    ended = outcome.stopped or ("" if outcome.finished else "its process ended before its last cell")
    more = f"and {len(outcome.errors) - 1} more cells fail" if len(outcome.errors) > 1 else ""
    return "; ".join(filter(None, [ended, *outcome.errors[:1], more]))
