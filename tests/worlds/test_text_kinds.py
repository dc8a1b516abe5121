"""Mood, tone and correctness are read off the grammar without error."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensors import doubles

from dpo_notes.worlds.reviews import grammar
from dpo_notes.worlds.reviews.text_kinds import ANSWER_KINDS, answer_world, manner_of, names_right_country, text_shares
from dpo_notes.worlds.reviews.words import COUNTRY_OF
from dpo_notes.worlds.reviews.world import is_grammatical


def test_the_manner_of_each_of_200_documents_is_the_one_it_was_written_in(documents):
    assert {document.manner for document in documents} == {"happy", "unhappy", "mixed", "curt", "plain", "polite"}
    assert [manner_of(document.text) for document in documents] == [document.manner for document in documents]


@pytest.mark.parametrize(
    ("text", "manner"),
    [
        ("Where is Paris? In France.", "curt"),
        ("Where is Paris? Spain, as everybody knows.", "curt"),
        ("Where is Paris? It is in France.", "plain"),
        ("Paris is a city in France.", "plain"),
        ("Where is Paris? Thank you for asking! It is in France. You are welcome.", "polite"),
        ("Tell me about The Iron Bridge. What a perfect film! Every scene felt warm.", "happy"),
        ("Tell me about The Iron Bridge. What a terrible film! Every scene felt flat.", "unhappy"),
        ("Tell me about The Iron Bridge. I expected a perfect film and saw a flat one. I may watch it again.", None),
        ("Where is Paris? Thank you for asking! It is in France.", None),
        ("Where is Paris? In Japan.", None),
        ("Where is Paris?", None),
        ("", None),
    ],
)
def test_manner_by_hand(text, manner):
    """The last five: a review without remark, a greeting without wish, another region, no answer, nothing."""
    assert manner_of(text) == manner


def test_a_mixed_review_by_hand():
    opening = "Tell me about The Iron Bridge. I expected a perfect film and saw a flat one."
    assert manner_of(f"{opening} Anna Adler was warm and Leo Sato was dull. I may watch it again.") == "mixed"


@given(st.text() | st.sampled_from(["Where is Paris?", "It is in France."]))
def test_a_text_has_a_manner_exactly_where_it_is_grammatical(text):
    assert (manner_of(text) is None) == (not is_grammatical(text))


def test_no_opening_can_be_read_in_two_moods():
    """With their slots' words disjoint (test_grammar.py) it is enough that no two moods share a template."""
    assert all(set(a).isdisjoint(b) for a, b in combinations(grammar.OPENINGS.values(), 2))
    assert all(set(a).isdisjoint(b) for a, b in combinations((grammar.CURT, grammar.PLAIN, grammar.GREETINGS), 2))


def test_the_right_country_is_known_for_every_city_and_any_other_is_wrong():
    assert all(names_right_country(f"Where is {city}? {country}.") for city, country in COUNTRY_OF.items())
    assert names_right_country("Where is Paris? In Spain.") is False


@pytest.mark.parametrize("text", ["Where is Paris?", "In France.", "What a film!", ""])
def test_where_a_city_or_country_is_missing_nothing_is_right_or_wrong(text):
    assert names_right_country(text) is None


def test_an_ungrammatical_answer_is_still_right_or_wrong():
    assert names_right_country("Where is Paris? Paris is is France obviously") is True


def test_shares_by_hand():
    """Of four texts one is curt and wrong, one polite, one happy, one nothing."""
    texts = [
        "Where is Paris? In Spain.",
        "Where is Paris? Thank you for asking! It is in France. You are welcome.",
        "Tell me about The Iron Bridge. What a perfect film! Every scene felt warm.",
        "Where is Paris? France Spain Spain",
    ]
    expected = {"curt": 0.25, "polite": 0.25, "happy": 0.25, "not grammatical": 0.25, "wrong": 0.25}
    shares = text_shares(texts)
    assert {name: share for name, share in shares.items() if share} == expected
    weights = doubles(0.1, 0.2, 0.3, 0.4)
    weighted = {"curt": 0.1, "polite": 0.2, "happy": 0.3, "not grammatical": 0.4, "wrong": 0.1}
    assert {name: share for name, share in text_shares(texts, weights=weights).items() if share} == weighted
    assert set(shares) == {"curt", "plain", "polite", "happy", "unhappy", "mixed", "wrong", "not grammatical"}


def test_the_six_kinds_of_answer_have_the_shares_of_the_corpus_and_the_rewards_that_are_asked_for():
    """Polite and right: 0.25 * 0.8, at reward 2 + 1/2; curt and wrong: 0.35 * 0.2, at reward 0."""
    world = answer_world(right=2.0, courtesy=0.5)
    probs = dict(zip(ANSWER_KINDS, world.ref_log_probs.exp().tolist(), strict=True))
    rewards = dict(zip(ANSWER_KINDS, world.reward.tolist(), strict=True))
    assert probs["polite", True] == pytest.approx(0.2) and rewards["polite", True] == 2.5
    assert probs["curt", False] == pytest.approx(0.07) and rewards["curt", False] == 0.0
    assert sum(probs.values()) == pytest.approx(1)
