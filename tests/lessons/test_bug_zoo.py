"""The bug zoo: the right code passes every named test, each fault fails its own, and the table tells all of them apart."""

import inspect
import math
from itertools import combinations

import pytest
import torch

from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import response_logps
from dpo_notes.lessons.computing_log_probabilities.zoo import named_tests, oracle, right, wrong
from dpo_notes.lessons.computing_log_probabilities.zoo.faults import FAULTS
from dpo_notes.lessons.computing_log_probabilities.zoo.letters import PAIRS, letter_model, letter_tokenizer
from dpo_notes.lessons.computing_log_probabilities.zoo.right import RIGHT
from dpo_notes.lessons.computing_log_probabilities.zoo.runs import BETA, STEPS, trained
from dpo_notes.lessons.computing_log_probabilities.zoo.symptoms import letter_of, log_of, loss_falls, run_of, specimens
from dpo_notes.lessons.computing_log_probabilities.zoo.table import (
    RIGHT_ONE,
    confused,
    fault_table,
    smallest_sets,
    told_apart_by,
)
from dpo_notes.maths.losses import dpo_loss

pytestmark = pytest.mark.notebooks
NAMES = [test.__name__ for test in named_tests.NAMED_TESTS]
BY_TITLE = {fault.title: fault for fault in FAULTS}
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


def rows_of(title):
    return run_of(BY_TITLE[title]).rows


def column(rows, name):
    return [row[name] for row in rows]


def test_there_are_at_least_a_dozen_and_each_has_a_name_of_its_own():
    assert len(FAULTS) == len(BY_TITLE) == len({fault.name for fault in FAULTS}) >= 12
    in_wrong = {name for name, thing in vars(wrong).items() if getattr(thing, "__module__", "") == wrong.__name__}
    assert in_wrong == {fault.name for fault in FAULTS}


def test_the_right_code_passes_every_test():
    assert fault_table()[RIGHT_ONE] == {}


@each_fault
def test_a_fault_fails_the_test_that_is_named_for_it_and_says_a_number_or_what_it_saw(fault):
    said = fault_table()[fault.title][fault.test.__name__]
    assert len(said) > 10
    with pytest.raises(AssertionError):
        fault.test(fault.pipeline)


def test_no_two_rows_of_the_table_are_the_same():
    assert confused(fault_table(), NAMES) is None
    for one, other in combinations(fault_table(), 2):
        assert told_apart_by(fault_table(), one, other)


def test_every_test_is_failed_by_some_fault():
    assert {name for failed in fault_table().values() for name in failed} == set(NAMES)


@each_fault
def test_a_fault_is_one_line_which_stands_in_the_source(fault):
    assert fault.changed_lines == [(fault.right_line, fault.wrong_line)]
    in_right = [line.strip() for line in inspect.getsource(right).splitlines()]
    in_wrong = [line.strip() for line in inspect.getsource(wrong).splitlines()]
    assert fault.right_line in in_right and fault.wrong_line in in_wrong


@each_fault
def test_a_fault_takes_and_gives_what_the_right_stage_does(fault):
    assert str(inspect.signature(fault.wrong)) == str(inspect.signature(getattr(RIGHT, fault.stage)))


def test_the_right_score_the_naive_loop_and_the_package_agree():
    model, tokenizer = frozen_copy(letter_model()), letter_tokenizer()
    package = torch.cat(response_logps_without_warning(model, tokenizer))
    torch.testing.assert_close(oracle.pair_logps(), package, rtol=0, atol=1e-12)
    torch.testing.assert_close(RIGHT.score(model, RIGHT.batch(tokenizer, PAIRS)), package, rtol=0, atol=1e-12)


def response_logps_without_warning(model, tokenizer):
    """Some pairs of the zoo straddle their border on purpose, which the package tells."""
    with pytest.warns(UserWarning, match="straddle the border"):
        return response_logps(model, tokenizer, list(PAIRS))


def test_the_right_loss_is_the_packages():
    policy, reference = frozen_copy(letter_model(1)), frozen_copy(letter_model())
    batch = RIGHT.batch(letter_tokenizer(), PAIRS)
    found = RIGHT.measure(policy, reference, batch, beta=BETA)
    logratios = (RIGHT.score(policy, batch) - RIGHT.score(reference, batch)).chunk(2)
    torch.testing.assert_close(found["loss"], dpo_loss(*logratios, beta=BETA))


def test_the_right_run_is_the_same_on_either_side_and_starts_at_log_2():
    right_rows, left_rows = run_of(None).rows, trained(RIGHT, side="left").rows
    assert column(left_rows, "loss") == pytest.approx(column(right_rows, "loss"), abs=1e-6)
    assert right_rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-12)
    assert column(right_rows, "true/margins") == pytest.approx(column(right_rows, "rewards/margins"))
    assert [row["step"] for row in right_rows] == list(range(STEPS + 1))


def test_a_scored_prompt_changes_the_log_probabilities_and_nothing_else():
    """It is the same for both responses of a pair, and cancels in the margin."""
    for name in ("loss", "rewards/margins", "true/margins", "grad_norm"):
        assert column(rows_of("prompt scored too"), name) == pytest.approx(column(run_of(None).rows, name), abs=1e-6)
    assert rows_of("prompt scored too")[0]["logps/chosen"] < run_of(None).rows[0]["logps/chosen"] - 1


def test_end_of_text_masked_and_missing_train_alike_and_only_a_test_tells_them_apart():
    masked, missing = rows_of("end of text masked"), rows_of("end of text missing")
    assert column(masked, "loss") == pytest.approx(column(missing, "loss"), abs=1e-6)
    assert told_apart_by(fault_table(), "end of text masked", "end of text missing") == ["all_responses_sum_to_one"]


def test_a_swapped_pair_and_a_flipped_sign_look_different_in_the_log_and_do_the_same_harm():
    swapped, flipped = rows_of("pair swapped")[-1], rows_of("sign flipped")[-1]
    assert swapped["rewards/margins"] > 1 and swapped["rewards/accuracies"] == 1
    assert flipped["rewards/margins"] < -1 and flipped["rewards/accuracies"] == 0
    assert swapped["true/margins"] == pytest.approx(flipped["true/margins"], rel=1e-6)
    assert loss_falls(BY_TITLE["pair swapped"]) and loss_falls(BY_TITLE["sign flipped"])


def test_a_trained_reference_stands_still_in_the_log_while_the_policy_runs_away():
    rows = rows_of("reference trained")
    assert column(rows, "loss") == pytest.approx([math.log(2)] * len(rows), abs=1e-12)
    assert rows[-1]["logps/rejected"] < rows[0]["logps/rejected"] - 5
    assert [fault.title for fault in FAULTS if not loss_falls(fault)] == ["reference trained"]


def test_without_beta_the_first_gradient_is_too_large_by_one_over_beta():
    ratio = rows_of("beta missing")[0]["grad_norm"] / run_of(None).rows[0]["grad_norm"]
    assert ratio == pytest.approx(1 / BETA)


def test_the_faults_at_the_start_are_seen_at_the_start():
    for title in ("dropout left on", "reference left out"):
        assert abs(rows_of(title)[0]["loss"] - math.log(2)) > 0.01
    assert rows_of("log forgotten")[0]["logps/chosen"] > 0
    assert rows_of("mean for sum")[0]["grad_norm"] < run_of(None).rows[0]["grad_norm"] / 2


def test_the_smallest_sets_tell_all_apart_and_no_smaller_set_does():
    (first, *_), table = smallest_sets(fault_table()), fault_table()
    assert confused(table, first) is None
    assert all(confused(table, fewer) is not None for fewer in combinations(NAMES, len(first) - 1))
    assert smallest_sets({"one": {}, "other": {}}) == []


def test_specimens_hide_every_fault_behind_a_letter_and_their_logs_do_not_say_its_name():
    assert sorted(specimens()) == list("ABCDEFGHIJKLMNOP") and set(specimens().values()) == set(FAULTS)
    assert [fault.title for fault in specimens().values()] != list(BY_TITLE)
    log = str(log_of(letter_of("sign flipped")))
    assert "sign" not in log and len(log.splitlines()) == 5 and "0.693" in log


def test_everything_a_model_may_say_sums_to_one_by_the_naive_loop():
    model = frozen_copy(letter_model())
    said = sum(oracle.naive_logp(model, oracle.PROMPT, response).exp().item() for response in oracle.short_responses())
    assert said + oracle.goes_on() == pytest.approx(1, abs=1e-12)
