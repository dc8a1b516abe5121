"""Exercises that talk back: "not tried yet", "right", or which mistake an answer looks like."""

import copy
import dis
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import torch

from dpo_notes.maths.errors import InputError

# The lesson of each notebook; its exercises.py holds the tuple EXERCISES.
LESSONS = {
    "00": "start_here",
    "01": "language_models",
    "02": "ai_alignment",
    "03": "reinforcement_learning",
    "04": "rl_for_language_models",
    "05": "reward_model",
    "06": "bradley_terry",
    "07": "kl_constrained_objective",
    "08": "deriving_the_dpo_loss",
    "09": "computing_log_probabilities",
    "10": "training_gpt2_with_dpo",
    "11": "did_it_work",
    "12": "beyond_dpo",
}
RIGHT, NOT_TRIED = "right", "not tried yet"
ROUNDED = 1e-2  # an answer this close, absolute or relative, is right but rounded


@dataclass(frozen=True)
class Mistake:
    """A likely wrong answer (a value or a function, as the exercise asks for) and the reply to it."""

    gives: object
    says: str


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One question of a notebook, with its answer and the answers that mistakes lead to.

    number: "NN.k", as in the notebook. expected: a number, tensor, word, or a list of these. If the reader writes a
    function, `expected` is one too, and `cases` holds the arguments on which both are compared. An expected function
    without cases takes no arguments; it is called when the answer is needed, for answers that take a model to compute.
    mistakes: at least one; none may equal the expected answer or another mistake. tolerance: the allowed difference,
    both absolute and relative to the expected number. rule: for questions with many right answers, of which `expected`
    is one. It takes what `observe` made of an answer and returns None if that is right, else what is wrong.
    """

    number: str
    expected: object
    mistakes: tuple[Mistake, ...]
    cases: tuple[tuple, ...] = ()
    tolerance: float = 1e-6
    rule: Callable[[object], str | None] | None = None


def check(number: str, answer: object) -> None:
    """Print the verdict on an answer to exercise `number`: not tried yet, right, or which mistake it looks like."""
    print(f"{number}: {verdict(exercise(number), answer)}")


def exercise(number: str) -> Exercise:
    """The exercise with this number. Raises InputError if there is none."""
    for candidate in exercises_of(number.partition(".")[0]):
        if candidate.number == number:
            return candidate
    raise InputError(f"no exercise {number!r}; expected a number such as '01.2', as in the notebook")


def exercises_of(notebook: str) -> tuple[Exercise, ...]:
    """The exercises of a notebook, "06"; empty if there is no such notebook."""
    lesson = LESSONS.get(notebook)
    return importlib.import_module(f"dpo_notes.lessons.{lesson}.exercises").EXERCISES if lesson else ()


def verdict(exercise: Exercise, answer: object) -> str:
    """RIGHT, NOT_TRIED, or what is wrong with the answer."""
    if is_blank(answer):
        return NOT_TRIED
    if exercise.cases and not callable(answer):
        return f"not yet: a function is expected, and this is {answer!r:.60}"
    try:
        seen = observe(exercise, answer)
    except Exception as error:  # noqa: BLE001  an error in the reader's function gets a verdict too
        return f"not yet: your function raises {type(error).__name__}: {error}"
    if exercise.cases and any(result is Ellipsis for result in seen):
        return NOT_TRIED
    if exercise.cases and any(result is None for result in seen):
        return "not yet: your function returns nothing; it ends with `return` and the result"
    return judge(exercise, seen)


def is_blank(answer: object) -> bool:
    """Whether an answer, or an item of it, is still `...`. A function with nothing but `...` in it is blank too."""
    if isinstance(answer, list | tuple):
        return any(is_blank(item) for item in answer)
    return answer is Ellipsis or (inspect.isfunction(answer) and _steps(answer) == _steps(lambda: None))


def observe(exercise: Exercise, answer: object) -> object:
    """The answer as data: a value as it is, a function as the list of its results on copies of the cases."""
    return [answer(*copy.deepcopy(case)) for case in exercise.cases] if exercise.cases else answer


def known(exercise: Exercise, answer: object) -> object:
    """The same for an answer that the exercise holds; a function without cases is called now."""
    return answer() if callable(answer) and not exercise.cases else observe(exercise, answer)


def judge(exercise: Exercise, seen: object) -> str:
    """RIGHT, or what is wrong with `seen`, which is what `observe` returned."""
    if exercise.rule is not None:
        problem = exercise.rule(seen)
        return RIGHT if problem is None else f"not yet: {problem}"
    expected = known(exercise, exercise.expected)
    if same(seen, expected, exercise.tolerance):
        return RIGHT
    for mistake in exercise.mistakes:
        if same(seen, known(exercise, mistake.gives), exercise.tolerance):
            return f"not yet: {mistake.says}"
    return f"not yet: {_difference(seen, expected)}"


def same(given: object, wanted: object, tolerance: float) -> bool:
    """Whether two answers agree: words regardless of case, numbers within the tolerance, lists item by item."""
    if isinstance(wanted, str):
        return isinstance(given, str) and given.strip().casefold() == wanted.strip().casefold()
    left, right = _numbers(given), _numbers(wanted)
    if left is not None and right is not None:
        return left.shape == right.shape and torch.allclose(left, right, rtol=tolerance, atol=tolerance)
    if isinstance(given, list | tuple) and isinstance(wanted, list | tuple) and len(given) == len(wanted):
        return all(same(*pair, tolerance) for pair in zip(given, wanted, strict=True))
    return False


def doubles(*values: float) -> torch.Tensor:
    """These numbers as a vector in float64."""
    return torch.tensor(values, dtype=torch.float64)


def _numbers(value: object) -> torch.Tensor | None:
    try:
        return torch.as_tensor(value, dtype=torch.float64).detach()
    except (TypeError, ValueError, RuntimeError):
        return None


def _difference(given: object, wanted: object) -> str:
    left, right = _numbers(given), _numbers(wanted)
    if right is None:
        return f"another answer than {given!r:.60} is expected"
    if left is None:
        return f"{'numbers are' if right.ndim else 'a number is'} expected, and this is {given!r:.60}"
    if left.shape != right.shape:
        return f"the shape is {tuple(left.shape)}; expected {tuple(right.shape)}"
    if same(given, wanted, ROUNDED):
        return "this is close; let the computer work it out to all its digits"
    return "the number is off, and not by a mistake that is known here"


def _steps(function: Callable) -> list[tuple]:
    return [(step.opname, step.argval) for step in dis.get_instructions(function)]
