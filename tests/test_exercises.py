"""Every exercise of every notebook: its answer is right, its blank is "not tried yet", each mistake gets its own words."""

import importlib
import re
from pathlib import Path

import pytest
from notebook_page import Page, checks

from dpo_notes.teaching.exercises.checking import FILES, NOT_TRIED, RIGHT, Exercise, exercise, known, verdict

pytestmark = pytest.mark.notebooks

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = {path.stem[:2]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))}
PACKAGE = ROOT / "dpo_notes" / "teaching"


def exercises_of(number: str) -> tuple[Exercise, ...]:
    """The exercises of one notebook; none where their file is not written yet."""
    if not (PACKAGE / "exercises" / f"{FILES[number]}.py").exists():
        return ()
    return importlib.import_module(f"dpo_notes.teaching.exercises.{FILES[number]}").EXERCISES


ALL = [exercise for number in FILES for exercise in exercises_of(number)]
MISTAKES = [(exercise, mistake) for exercise in ALL for mistake in exercise.mistakes]
each_exercise = pytest.mark.parametrize("one", ALL, ids=lambda exercise: exercise.number)


def test_numbers_are_those_of_their_notebook_in_order_from_1():
    for number in FILES:
        found = [exercise.number for exercise in exercises_of(number)]
        assert found == [f"{number}.{k}" for k in range(1, len(found) + 1)]
    for one in ALL:
        assert exercise(one.number) is one


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_a_notebook_asks_for_exactly_the_exercises_of_its_file(number):
    asked = list(checks(Page(NOTEBOOKS[number])))
    assert asked == [exercise.number for exercise in exercises_of(number)]
    assert len(asked) >= 4


@pytest.mark.parametrize("number", NOTEBOOKS)
def test_notebook_solutions_explorers_and_exercises_have_one_name(number):
    """01_language_models.ipynb, twice, and language_models.py, twice."""
    stem = NOTEBOOKS[number].stem[3:]
    assert FILES.get(number) == stem
    assert (ROOT / "notebooks" / "solutions" / NOTEBOOKS[number].name).exists()
    assert (PACKAGE / "explorers" / f"{stem}.py").exists()
    assert (PACKAGE / "exercises" / f"{stem}.py").exists()


def test_no_solutions_explorers_or_exercises_stand_without_a_notebook():
    """A file of exercises may be written before its notebook; then it is named in FILES."""
    assert {path.name for path in (ROOT / "notebooks" / "solutions").glob("*.ipynb")} <= {
        p.name for p in NOTEBOOKS.values()
    }
    for folder in ("explorers", "exercises"):
        stems = {path.stem for path in (PACKAGE / folder).glob("[a-z]*.py")}
        assert stems - {"checking", "bug_zoo"} <= set(FILES.values()), folder  # the bug zoo is part of notebook 09


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
