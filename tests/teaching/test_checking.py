"""Exercises say "not tried yet", "right", or which mistake an answer looks like."""

import math
import sys
from types import ModuleType

import pytest
import torch

from dpo_notes.maths.errors import InputError
from dpo_notes.teaching import checking
from dpo_notes.teaching.checking import NOT_TRIED, RIGHT, Exercise, Mistake, check, verdict

LOG_2 = Exercise(number="00.1", expected=math.log(2), mistakes=(Mistake(gives=1.0, says="this is in bits"),))
WORD = Exercise(number="00.2", expected="Reference", mistakes=(Mistake(gives="policy", says="this one moves"),))
MEAN = Exercise(
    number="00.3",
    expected=lambda values: values.mean(),
    mistakes=(Mistake(gives=lambda values: values.sum(), says="this is the sum"),),
    cases=((torch.tensor([1.0, 3.0]),), (torch.tensor([4.0, 4.0, 1.0]),)),
)
TWO = Exercise(
    number="00.4",
    expected=(3, torch.tensor([0.5, 0.5])),
    mistakes=(Mistake(gives=(2, torch.tensor([0.5, 0.5])), says="one is missing"),),
)
EVEN = Exercise(
    number="00.5",
    expected=2,
    mistakes=(Mistake(gives=3, says="3 is odd"),),
    rule=lambda seen: None if seen % 2 == 0 else f"{seen} is odd",
)
LATER = Exercise(number="00.6", expected=lambda: 4.0, mistakes=(Mistake(gives=lambda: 5.0, says="one too many"),))


def blank(values): ...


def half_blank(values):
    """Its work stands there, and the result does not."""
    shifted = values - values.max()
    return ... if len(shifted) else 0


def without_return(values):
    values.mean()


@pytest.mark.parametrize(
    ("exercise", "answer", "said"),
    [
        (LOG_2, ..., NOT_TRIED),
        (LOG_2, math.log(2), RIGHT),
        (LOG_2, torch.tensor(2.0).log(), RIGHT),
        (LOG_2, 1, "not yet: this is in bits"),
        (LOG_2, 0.693, "not yet: this is close; let the computer work it out to all its digits"),
        (LOG_2, 7.0, "not yet: the number is off, and not by a mistake that is known here"),
        (LOG_2, math.nan, "not yet: the number is off, and not by a mistake that is known here"),
        (LOG_2, "two", "not yet: a number is expected, and this is 'two'"),
        (LOG_2, [math.log(2)], "not yet: the shape is (1,); expected ()"),
        (WORD, " REFERENCE ", RIGHT),
        (WORD, "policy", "not yet: this one moves"),
        (WORD, 3, "not yet: another answer than 3 is expected"),
        (MEAN, torch.mean, RIGHT),
        (MEAN, torch.sum, "not yet: this is the sum"),
        (MEAN, blank, NOT_TRIED),
        (MEAN, half_blank, NOT_TRIED),
        (MEAN, without_return, "not yet: your function returns nothing; it ends with `return` and the result"),
        (MEAN, lambda values: values[7], "not yet: your function raises IndexError: index 7 is out of bounds"),
        (MEAN, lambda values: 2.0, "not yet: the number is off, and not by a mistake that is known here"),
        (MEAN, 2.0, "not yet: a function is expected, and this is 2.0"),
        (TWO, [3, [0.5, 0.5]], RIGHT),
        (TWO, [2, [0.5, 0.5]], "not yet: one is missing"),
        (TWO, (..., ...), NOT_TRIED),
        (TWO, (3, ...), NOT_TRIED),
        (TWO, 3, "not yet: another answer than 3 is expected"),
        (EVEN, 8, RIGHT),
        (EVEN, 7, "not yet: 7 is odd"),
        (LATER, 4, RIGHT),
        (LATER, 5, "not yet: one too many"),
    ],
)
def test_each_answer_gets_its_verdict(exercise, answer, said):
    assert verdict(exercise, answer).startswith(said)


def test_a_function_that_returns_a_constant_is_no_blank():
    exercise = Exercise(number="00.1", expected=lambda x: 0.5, mistakes=(Mistake(lambda x: x, "no"),), cases=((1.0,),))
    assert verdict(exercise, lambda x: 0.5) == RIGHT


def test_an_answer_is_right_to_the_tolerance_and_no_further():
    exercise = Exercise(number="00.1", expected=100.0, mistakes=(Mistake(1.0, "no"),), tolerance=1e-3)
    assert verdict(exercise, 100.09) == RIGHT
    assert verdict(exercise, 100.2) != RIGHT


def test_noise_of_rounding_about_zero_is_zero_and_a_small_number_is_not():
    exercise = Exercise(number="00.1", expected=0.0, mistakes=(Mistake(1.0, "no"),), tolerance=1e-6)
    assert verdict(exercise, 0.1 + 0.2 - 0.3) == RIGHT  # 5.6e-17
    assert verdict(exercise, torch.tensor(-1e-7)) == RIGHT  # in float32
    assert verdict(exercise, 1e-5) != RIGHT


def test_an_infinite_answer_equals_itself_alone():
    exercise = Exercise(number="00.1", expected=math.inf, mistakes=(Mistake(-math.inf, "the other end"),))
    assert verdict(exercise, math.inf) == RIGHT
    assert verdict(exercise, -math.inf) == "not yet: the other end"
    assert verdict(exercise, 1e9) not in (RIGHT, "not yet: the other end")


def test_a_function_that_changes_its_argument_spoils_nothing():
    """It gets copies: the exercise is the same at the next call of check."""
    before = [case[0].clone() for case in MEAN.cases]
    assert verdict(MEAN, lambda values: values.mul_(0).mean()) != RIGHT
    assert all(torch.equal(case[0], kept) for case, kept in zip(MEAN.cases, before, strict=True))
    assert verdict(MEAN, torch.mean) == RIGHT


@pytest.fixture
def notebook_00(monkeypatch):
    module = ModuleType("dpo_notes.lessons.only_here.exercises")
    module.EXERCISES = (LOG_2, WORD)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(checking.LESSONS, "00", "only_here")


def test_check_prints_one_line_with_the_number(notebook_00, capsys):
    check("00.1", 1.0)
    check("00.2", ...)
    assert capsys.readouterr().out == "00.1: not yet: this is in bits\n00.2: not tried yet\n"


@pytest.mark.parametrize("number", ["00.9", "99.1", "0.1", "", "one"])
def test_a_number_without_exercise_is_one_clear_line(notebook_00, number):
    with pytest.raises(InputError, match=f"no exercise '{number}'; expected a number such as '01.2'"):
        check(number, ...)
