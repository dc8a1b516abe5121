"""The explorer of the bug zoo: set the controls, read the artists and words."""

import pytest
from hands_on import set_to

from dpo_notes.lessons.computing_log_probabilities.zoo.explorers import LOGPS, LOSS, NOT_YET, BugZoo
from dpo_notes.lessons.computing_log_probabilities.zoo.faults import FAULTS
from dpo_notes.lessons.computing_log_probabilities.zoo.named_tests import NAMED_TESTS
from dpo_notes.lessons.computing_log_probabilities.zoo.symptoms import letter_of, run_of, specimens
from dpo_notes.lessons.computing_log_probabilities.zoo.table import fault_table

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def zoo():
    return BugZoo()


@pytest.mark.parametrize("letter", specimens())
def test_the_curves_are_those_of_the_specimens_run(zoo, letter):
    set_to(zoo, specimen=letter, diagnosis=NOT_YET)
    rows = run_of(specimens()[letter]).rows
    assert list(zoo.loss.get_ydata()) == [row["loss"] for row in rows]
    assert list(zoo.true.get_ydata()) == [row["true/margins"] for row in rows]
    assert list(zoo.rejected.get_ydata()) == [row["logps/rejected"] for row in rows]
    assert zoo.words.endswith("Which bug is it?") and specimens()[letter].title not in zoo.words


def test_losses_and_log_probabilities_of_every_specimen_stand_within_the_axes():
    for fault in (None, *FAULTS):
        for row in run_of(fault).rows:
            assert LOSS[0] <= row["loss"] <= LOSS[1]
            assert LOGPS[0] <= min(row["logps/chosen"], row["logps/rejected"])
            assert max(row["logps/chosen"], row["logps/rejected"]) <= LOGPS[1]


def test_the_tests_are_hidden_until_they_are_asked_for(zoo):
    letter = letter_of("padding scored")
    set_to(zoo, specimen=letter, tests=False)
    assert len(zoo.failed.get_ydata()) == len(zoo.passed.get_ydata()) == 0
    set_to(zoo, tests=True)
    failed = fault_table()["padding scored"]
    assert [NAMED_TESTS[place].__name__ for place in zoo.failed.get_ydata()] == list(failed)
    assert len(zoo.failed.get_ydata()) + len(zoo.passed.get_ydata()) == len(NAMED_TESTS)


def test_a_right_diagnosis_shows_the_line(zoo):
    set_to(zoo, specimen=letter_of("sign flipped"), diagnosis="sign flipped")
    assert "is right" in zoo.words and "return -logsigmoid(-margins)" in zoo.words


def test_a_wrong_diagnosis_names_a_test_that_tells_the_two_apart(zoo):
    set_to(zoo, specimen=letter_of("end of text masked"), diagnosis="end of text missing")
    assert zoo.words.endswith(
        "It is not “end of text missing”: that passes “all responses sum to one”, which this specimen fails."
    )


def test_a_diagnosis_stays_when_the_specimen_changes_and_is_judged_anew(zoo):
    set_to(zoo, specimen=letter_of("no shift"), diagnosis="no shift")
    assert "is right" in zoo.words
    set_to(zoo, specimen=letter_of("mean for sum"))
    assert "It is not “no shift”" in zoo.words
