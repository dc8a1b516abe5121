"""The explorers of notebook 09: set the controls, read the artists and words."""

import re

import ipywidgets as W
import pytest
import torch
from hands_on import set_to

from dpo_notes.language.score import response_logps
from dpo_notes.lessons.computing_log_probabilities.explorers import MOST, Microscope, Padding
from dpo_notes.lessons.computing_log_probabilities.token_rows import rows_of
from dpo_notes.pairs.load import PreferencePair

pytestmark = pytest.mark.notebooks
BETA = 0.5


@pytest.fixture
def models(new_tiny_model):
    return new_tiny_model(1), new_tiny_model(0)


@pytest.fixture
def microscope(tiny_tokenizer, tiny_pairs, models):
    return Microscope(tiny_tokenizer, tiny_pairs[:2], *models, beta=BETA)


def test_the_shares_of_the_tokens_sum_to_the_rewards_and_these_to_the_margin(
    microscope, tiny_tokenizer, tiny_pairs, models
):
    """By the public entry, from text."""
    with torch.no_grad():
        policy, reference = (torch.stack(response_logps(model, tiny_tokenizer, tiny_pairs[:2])) for model in models)
    rewards = BETA * (policy - reference)
    for number, rows in enumerate(microscope.rows):
        for side, name in enumerate(("chosen", "rejected")):
            torch.testing.assert_close(rows[name].shares.sum(), rewards[side, number], rtol=1e-4, atol=1e-4)
    said = re.findall(r"[+-]\d+\.\d+", set_to(microscope, comparison=2).words.partition("Rewards")[2])
    expected = pytest.approx([*rewards[:, 1].tolist(), (rewards[0, 1] - rewards[1, 1]).item()], abs=1e-3)
    assert [float(number) for number in said] == expected
    assert [bar.get_height() for bar in microscope.totals] == expected  # of the last page that was drawn


def test_the_prompt_has_no_share_and_says_so(microscope):
    set_to(microscope, comparison=1, response="chosen", position=1)
    assert "is masked out" in microscope.words
    assert "share of the reward" not in microscope.words
    assert "the sum is +0.000" in microscope.words
    assert microscope.numbers[1].get_text() == " not counted"


def test_the_slider_ends_where_the_response_does_and_so_does_its_box(microscope):
    slider = microscope.controls["position"]
    for response in ("chosen", "rejected"):
        set_to(microscope, response=response)
        set_to(microscope, position=slider.max)
        assert slider.value == slider.max == len(microscope.row.words) - 1
        assert "end of text" in microscope.words
        assert list(microscope.here[0].get_xdata()) == [slider.max] * 2
        (box,) = [
            box
            for row in microscope.children
            for box in row.trait_values().get("children", ())
            if isinstance(box, W.BoundedIntText)
        ]
        assert (box.value, box.max) == (slider.value, slider.max)


def test_on_the_website_every_position_of_the_longest_response_can_be_seen(microscope):
    places = microscope.page_grid()["position"]
    assert (places[0], places[-1]) == (0, microscope.longest - 1)
    for place in places:
        microscope.go_to(position=place)
        assert microscope.at == min(place, len(microscope.row.words) - 1)


def test_each_page_is_drawn_once_and_shown_whenever_it_is_chosen(microscope):
    first = microscope.png
    other = set_to(microscope, response="rejected").png
    assert other != first
    assert set_to(microscope, response="chosen").png == first
    assert len(microscope.pages) == 4


def test_a_shared_beginning_has_equal_rows(tiny_tokenizer, models):
    pair = PreferencePair("Where is Rome?", " Rome is in Italy.", " Rome is in Spain.")
    rows = rows_of(tiny_tokenizer, pair, *models, beta=BETA)
    same = next(t for t, (a, b) in enumerate(zip(rows["chosen"].words, rows["rejected"].words, strict=False)) if a != b)
    assert same > 3
    torch.testing.assert_close(rows["chosen"].shares[:same], rows["rejected"].shares[:same])


@pytest.fixture
def padding(tiny_model):
    return Padding(tiny_model, [5, 6, 7], [8, 9, 0], pad_id=0, other_id=3)


def test_on_the_right_nothing_is_off_and_on_the_left_nothing_only_if_all_is_told(padding):
    for told, line in set_to(padding, side="right").lines.items():
        assert max(line.get_ydata()) < 1e-4, told
    highest = [max(line.get_ydata()) for line in set_to(padding, side="left", filling="another token").lines.values()]
    assert highest[0] > 0.1
    assert highest[1] > 0.1
    assert highest[2] < 1e-4
    assert "off by nothing but rounding" in set_to(padding, told="attention mask and position ids").words


def test_the_positions_are_those_that_the_model_believes(padding):
    def shown():
        return [text.get_text() for text in padding.positions]

    set_to(padding, side="left", told="attention mask", amount=2)
    assert shown() == ["2", "4", "5", "7"]  # the ends of a prompt of 3 tokens and a response of 3
    assert "at position 2." in padding.words
    set_to(padding, told="attention mask and position ids")
    assert shown() == ["0", "2", "3", "5"]
    assert [text.get_position()[0] for text in padding.positions] == [2, 4, 5, 7]
    assert "at position 0." in padding.words
    set_to(padding, side="right", amount=MOST)
    assert "at position 0." in padding.words
