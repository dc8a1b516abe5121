"""A guess is saved before the answer is known, and shown beside it afterwards."""

import pytest
from hands_on import press

from dpo_notes.teaching import predict as module
from dpo_notes.teaching.predict import predict


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(module, "KEPT", {})


def test_a_number_is_kept_at_the_button_and_printed_beside_the_answer_with_its_unit(capsys):
    guess = predict("How far?", low=0, high=10, unit="nats")
    guess.choice.value = 2.5
    press(guess, "Keep my guess")
    assert "Kept: 2.5 nats" in guess.status.value
    guess.beside(3.14159)
    assert capsys.readouterr().out == "How far?\n  you guessed: 2.5 nats\n  it is:       3.142 nats\n"


def test_a_word_is_chosen_among_the_options_and_none_is_suggested(capsys):
    guess = predict("Which wins?", options=("policy", "reference"))
    assert guess.choice.value is None
    press(guess, "Keep my guess")
    guess.beside("policy")
    guess.choice.value = "reference"
    press(guess, "Keep my guess")
    guess.beside("policy")
    said = capsys.readouterr().out
    assert "you guessed: nothing yet" in said
    assert said.endswith("  you guessed: reference\n  it is:       policy\n")


def test_what_is_not_kept_is_no_guess(capsys):
    guess = predict("How far?")
    guess.choice.value = 0.9
    guess.beside(0.1)
    assert "you guessed: nothing yet" in capsys.readouterr().out


def test_a_number_beyond_the_limits_is_brought_to_the_limit():
    guess = predict("How far?", low=0, high=10)
    guess.choice.value = 99
    assert guess.choice.value == 10


def test_running_the_cell_again_keeps_the_guess():
    for value, options in ((4.0, ()), ("b", ("a", "b"))):
        first = predict(f"again {value}?", options=options, high=9)
        first.choice.value = value
        press(first, "Keep my guess")
        second = predict(f"again {value}?", options=options, high=9)
        assert second.choice.value == value
        assert "Kept" in second.status.value


def test_a_kept_guess_that_is_no_option_any_more_is_forgotten_by_the_widget():
    first = predict("Which?", options=("a", "b"))
    first.choice.value = "b"
    press(first, "Keep my guess")
    assert predict("Which?", options=("a", "c")).choice.value is None
    assert predict("Which?", high=9).choice.value == 4.5


def test_what_a_reader_types_into_has_a_name():
    for guess in (predict("How far?"), predict("Which?", options=("a", "b"))):
        assert guess.choice.description == "I guess"


def test_a_notebook_without_a_kernel_shows_question_and_choices():
    number = predict("How far?", low=0, high=10, unit="nats")._repr_mimebundle_()
    assert number["text/plain"] == "Make a guess: How far? (from 0 to 10 nats)"
    words = predict("Which?", options=("a", "b"))._repr_mimebundle_()
    assert words["text/plain"] == "Make a guess: Which? (a / b)"
    assert "application/vnd.jupyter.widget-view+json" in words
