"""Answers travel as data: they arrive as they were sent, and what is no answer arrives as its printed form."""

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from dpo_notes.grading import marks
from dpo_notes.grading.answers import DEPTH, Other, decode, encode, received, reported
from dpo_notes.grading.marks import judged
from dpo_notes.grading.run_submission import Outcome
from dpo_notes.teaching.checking import LESSONS, NOT_TRIED, RIGHT, exercises_of, same

ALL = [exercise for number in LESSONS for exercise in exercises_of(number)]


@pytest.mark.parametrize(
    "value",
    [0.1, math.inf, -3, True, None, "polite", [1, [2.5, "a"]]]
    + [torch.tensor([0.1, 2.0]), torch.tensor(3), torch.eye(2).bool()],
    ids=str,
)
def test_an_answer_arrives_as_it_was_sent(value):
    arrived = decode(json.loads(json.dumps(encode(value))))
    assert type(arrived) is type(value)
    if isinstance(value, torch.Tensor):
        assert arrived.dtype == value.dtype and torch.equal(arrived, value)
    else:
        assert arrived == value


@pytest.mark.parametrize("value", [Fraction(1, 2), Decimal("0.5"), np.float32(0.5), [Fraction(1, 2)]], ids=repr)
def test_numbers_of_any_kind_are_judged_as_in_the_notebook(value):
    wanted = [0.5] if isinstance(value, list) else 0.5
    assert same(value, wanted, 1e-6) and same(decode(json.loads(json.dumps(encode(value)))), wanted, 1e-6)


def test_small_integers_arrive():
    assert decode(encode(np.array([3, 4], dtype=np.int16))).tolist() == [3, 4]


def test_a_text_of_a_kind_of_its_own_is_a_text():
    arrived = decode(json.loads(json.dumps(encode([np.str_("polite")]))))
    assert arrived == ["polite"] and type(encode(np.str_("polite"))) is str


def test_something_else_arrives_as_its_printed_form_and_can_do_nothing():
    class Trap:
        def __repr__(self):
            return "trap" * 1000

    arrived = decode(json.loads(json.dumps(encode(Trap()))))
    assert isinstance(arrived, Other) and not callable(arrived) and len(repr(arrived)) <= 80


@pytest.mark.parametrize(
    "data",
    [{}, {"tensor": [[1], [2, 3]], "dtype": "float32"}, {"tensor": [1], "dtype": "object"}]
    + [{"tensor": [10**30], "dtype": "int64"}, {"other": 3}, [[[[[[[[[[[[1]]]]]]]]]]]]],
    ids=str,
)
def test_forged_data_is_an_answer_to_nothing(data):
    for exercise in (ALL[0], next(one for one in ALL if one.cases), next(one for one in ALL if one.rule)):
        for report in (data, {"value": data}, {"results": data}, {"results": [data]}):
            said = Outcome(answers={exercise.number: json.loads(json.dumps(report))})
            assert judged(exercise, said).startswith("not yet: ")


@pytest.mark.parametrize(
    "data", [{"tensor": [1], "dtype": "object"}, {"tensor": [10**30], "dtype": "int64"}, {"other": 3}]
)
def test_data_that_encodes_nothing_is_something_else(data):
    assert isinstance(decode(data), Other)


def test_lists_within_lists_are_read_to_a_depth_and_no_further():
    data = value = 1
    for _ in range(DEPTH + 3):
        data = [data]
    value = decode(data)
    for _ in range(DEPTH):
        (value,) = value
    assert isinstance(value, Other)


def test_an_answer_that_breaks_the_checker_is_wrong_and_nothing_more(monkeypatch):
    def broken(*arguments):
        raise RecursionError

    monkeypatch.setattr(marks, "verdict", broken)
    said = Outcome(answers={ALL[0].number: {"value": 1}})
    assert judged(ALL[0], said) == "not yet: this cannot be judged (RecursionError)"


@pytest.mark.notebooks
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.number)
def test_the_expected_answer_of_every_exercise_is_right_after_the_journey(one):
    """A function travels as what it returns for the arguments that were sent to it."""
    answer = one.expected if one.cases or not callable(one.expected) else one.expected()
    cases = json.loads(json.dumps(encode(one.cases))) if one.cases else None
    report = json.loads(json.dumps(reported(answer, cases)))
    assert judged(one, Outcome(answers={one.number: report})) == RIGHT


@pytest.mark.parametrize("one", [one for one in ALL if one.cases], ids=lambda one: one.number)
def test_a_mistaken_function_is_named_after_the_journey(one):
    report = json.loads(json.dumps(reported(one.mistakes[0].gives, encode(one.cases))))
    assert judged(one, Outcome(answers={one.number: report})) == f"not yet: {one.mistakes[0].says}"


def test_a_function_that_raises_and_a_blank_are_judged_as_in_the_notebook():
    one = next(one for one in ALL if one.cases)
    cases = encode(one.cases)
    raised = Outcome(answers={one.number: reported(lambda *arguments: {}["a"], cases)})
    assert judged(one, raised) == "not yet: your function raises KeyError: 'a'"
    assert judged(one, Outcome(answers={one.number: reported(lambda *arguments: ..., cases)})) == NOT_TRIED
    assert judged(one, Outcome(answers={one.number: reported(..., cases)})) == NOT_TRIED
    assert judged(one, Outcome()) == NOT_TRIED
    assert received({"results": [1.0]}, asks_for_function=False) == Other("a function")
