"""Every exercise of every notebook: its answer is right, its blank is "not tried yet", each mistake gets its own words."""

import re

import pytest
from notebook_page import Page, checks

from dpo_notes import places
from dpo_notes.teaching.checking import LESSONS, NOT_TRIED, RIGHT, exercise, exercises_of, known, verdict

pytestmark = pytest.mark.notebooks

NOTEBOOKS = {path.stem[:2]: path for path in sorted(places.NOTEBOOKS.glob("[0-9]*.ipynb"))}
ALL = [exercise for number in LESSONS for exercise in exercises_of(number)]
MISTAKES = [(exercise, mistake) for exercise in ALL for mistake in exercise.mistakes]
each_exercise = pytest.mark.parametrize("one", ALL, ids=lambda exercise: exercise.number)


def test_numbers_are_those_of_their_notebook_in_order_from_1():
    for number in LESSONS:
        found = [exercise.number for exercise in exercises_of(number)]
        assert found == [f"{number}.{k}" for k in range(1, len(found) + 1)]
    for one in ALL:
        assert exercise(one.number) is one


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_notebook_asks_for_exactly_the_exercises_of_its_file(number):
    assert number in LESSONS, f"{number} has no line in LESSONS (dpo_notes/teaching/checking.py)"
    asked = list(checks(Page(NOTEBOOKS[number])))
    assert asked == [exercise.number for exercise in exercises_of(number)]
    assert len(asked) >= 4


def test_notebooks_solutions_and_lessons_have_the_same_names():
    """01_language_models.ipynb, twice, and lessons/language_models with its two files."""
    wrong = [
        f"{number} of LESSONS (dpo_notes/teaching/checking.py) is no notebook" for number in LESSONS.keys() - NOTEBOOKS
    ]
    for number, path in NOTEBOOKS.items():
        lesson = path.stem[3:]
        if number not in LESSONS:
            wrong += [f"{number} has no line in LESSONS (dpo_notes/teaching/checking.py)"]
        elif LESSONS[number] != lesson:
            wrong += [
                f"{number} is {LESSONS[number]!r} in LESSONS (dpo_notes/teaching/checking.py); expected {lesson!r}"
            ]
        if not (path.parent / "solutions" / path.name).exists():
            wrong += [f"{number} has no solutions: notebooks/solutions/{path.name}"]
        for file in ("__init__.py", "exercises.py"):
            if not (places.PACKAGE / "lessons" / lesson / file).exists():
                wrong += [f"{number} has no dpo_notes/lessons/{lesson}/{file}"]
    notebooks = {path.name for path in NOTEBOOKS.values()}
    extra = [path for path in places.NOTEBOOKS.glob("solutions/*.ipynb") if path.name not in notebooks]
    rooms = {path.stem[3:] for path in NOTEBOOKS.values()}
    extra += [path.parent for path in places.PACKAGE.glob("lessons/*/__init__.py") if path.parent.name not in rooms]
    wrong += [f"{path} belongs to no notebook" for path in extra]
    assert not wrong, "\n" + "\n".join(wrong)


@each_exercise
def test_the_expected_answer_is_right(one):
    answer = one.expected if one.cases else known(one, one.expected)
    assert verdict(one, answer) == RIGHT


@each_exercise
def test_a_blank_is_not_tried_yet(one):
    def blank(*arguments): ...

    assert verdict(one, ...) == NOT_TRIED
    assert verdict(one, blank) == NOT_TRIED


@each_exercise
def test_an_exercise_knows_at_least_two_mistakes_with_words_of_their_own(one):
    says = [mistake.says for mistake in one.mistakes]
    assert len(says) >= 2
    assert len(set(says)) == len(says)
    assert all(says)


@pytest.mark.parametrize(
    ("one", "mistake"), MISTAKES, ids=[f"{one.number}: {wrong.says[:50]}" for one, wrong in MISTAKES]
)
def test_each_mistake_gets_exactly_its_own_words(one, mistake):
    answer = mistake.gives if one.cases else known(one, mistake.gives)
    assert verdict(one, answer) == f"not yet: {mistake.says}"


@each_exercise
def test_an_answer_of_another_kind_is_talked_about_and_never_right(one):
    """Nothing that a reader may type ends in an error of ours."""
    for answer in (None, "perhaps", [], {"a": 1}, lambda *arguments: "perhaps", lambda: 1, 10**30, float("nan")):
        assert re.match(r"not yet: \S", verdict(one, answer)), answer
