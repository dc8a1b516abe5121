"""Marks: the answers of a returned notebook, judged here by the package's own checkers."""

import importlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from dpo_notes.teaching.exercises.checking import FILES, NOT_TRIED, RIGHT, Exercise, verdict
from dpo_notes.teaching.grading.answers import received
from dpo_notes.teaching.grading.run_submission import Said, run_submission
from dpo_notes.teaching.grading.submissions import Submission, submissions

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


def mark_all(folder: Path, *, seconds: int, memory: int, at_once: int = 1) -> Iterator[Marked]:
    """Every submission in `folder`, marked, in the order of their paths; `at_once` of them run at the same time.

    seconds: for one notebook. memory: bytes for one notebook. Raises InputError where there is nothing to mark.
    """
    found = submissions(folder)
    # PyTorch's threads wait for each other by turning: with more of them than cores a notebook hardly gets on.
    threads = max(1, torch.get_num_threads() // at_once)
    with ThreadPoolExecutor(at_once) as workers:
        yield from workers.map(partial(mark, seconds=seconds, memory=memory, threads=threads), found)


def mark(submission: Submission, *, seconds: int, memory: int, threads: int) -> Marked:
    """One submission, marked; one that cannot be run has every exercise not tried, and a remark."""
    exercises = exercises_of(submission.number)
    said = Said(finished=True)
    if exercises and not submission.problem:
        said = run_submission(submission, exercises, seconds=seconds, memory=memory, threads=threads)
    verdicts = {exercise.number: judged(exercise, said) for exercise in exercises}
    return Marked(submission, verdicts, submission.problem or _remark(said))


def exercises_of(number: str) -> tuple[Exercise, ...]:
    """The exercises of a notebook, "06"; none where there is no such notebook."""
    return importlib.import_module(f"dpo_notes.teaching.exercises.{FILES[number]}").EXERCISES if number in FILES else ()


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
