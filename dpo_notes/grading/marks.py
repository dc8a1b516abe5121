"""Marks: the answers of a returned notebook, judged here by the package's own checkers."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dpo_notes.grading.answers import received
from dpo_notes.grading.run_submission import Limits, Said, run_submission
from dpo_notes.grading.submissions import Submission
from dpo_notes.teaching.checking import NOT_TRIED, RIGHT, Exercise, exercises_of, verdict

WRONG = "wrong"
MARKS = {RIGHT: "right", NOT_TRIED: "not tried"}  # every other verdict is wrong


@dataclass(frozen=True)
class Marked:
    """One submission with the checker's words on each of its notebook's exercises, in order.

    remark: what kept it from being run to its end, or what its cells raised; empty where nothing did.
    """

    submission: Submission
    verdicts: dict[str, str]
    remark: str = ""

    @property
    def marks(self) -> dict[str, str]:
        """ "right", "wrong" or "not tried" for each exercise."""
        return {number: MARKS.get(words, WRONG) for number, words in self.verdicts.items()}

    @property
    def right(self) -> int:
        """How many exercises are right."""
        return list(self.marks.values()).count(MARKS[RIGHT])


def mark_all(
    found: Sequence[Submission], limits: Limits, *, at_once: int = 1, hidden: Sequence[Path] = ()
) -> Iterator[Marked]:
    """The submissions, marked, in their order; `at_once` of them run at the same time and share the threads."""
    # PyTorch's threads wait for each other by turning: with more of them than cores a notebook hardly gets on.
    limits = replace(limits, threads=max(1, limits.threads // at_once))
    with ThreadPoolExecutor(at_once) as workers:
        yield from workers.map(partial(mark, limits=limits, hidden=hidden), found)


def mark(submission: Submission, limits: Limits, *, hidden: Sequence[Path] = ()) -> Marked:
    """One submission, marked. Whatever goes wrong with it is a remark, its exercises not tried, and nobody else's matter."""
    exercises = exercises_of(submission.number)
    said, remark = Said(finished=True), submission.problem
    if exercises and not submission.problem:
        try:
            said = run_submission(submission, exercises, limits, hidden=hidden)
            remark = _remark(said)
        except Exception as error:  # noqa: BLE001  one notebook must not end the marking of a class
            said, remark = Said(), f"could not be run: {type(error).__name__}: {error}"
    remark = "; ".join(filter(None, ["run without a sandbox" if limits.unconfined else "", remark]))
    return Marked(submission, {exercise.number: judged(exercise, said) for exercise in exercises}, remark)


def judged(exercise: Exercise, said: Said) -> str:
    """The checker's words on the last answer that a notebook gave to an exercise."""
    if exercise.number not in said.answers:
        return NOT_TRIED
    try:
        return verdict(exercise, received(said.answers[exercise.number], asks_for_function=bool(exercise.cases)))
    except Exception as error:  # noqa: BLE001  an answer made to break the checker is a wrong answer
        return f"not yet: this cannot be judged ({type(error).__name__})"


def _remark(said: Said) -> str:
    remarks = [said.stopped] if said.stopped else [] if said.finished else ["its process ended before its last cell"]
    remarks += said.errors[:1]
    if len(said.errors) > 1:
        remarks.append(f"and {len(said.errors) - 1} more cells fail")
    return "; ".join(remarks)
