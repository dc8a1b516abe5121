"""The grammar's exact probabilities: by hand, by the chain rule, and against what the grammar writes."""

import math
from collections import Counter

import pytest
from tensors import seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews.exact_model import END, next_words, text_logp, words_of
from dpo_notes.worlds.reviews.world import is_grammatical, sample_documents

DOCUMENTS = sample_documents(300, generator=seeded(3))


@pytest.mark.parametrize(
    ("text", "probability"),
    [
        # kind × prompt × what is in it × response
        ("Shanghai is a city in China.", 0.1 / 100 / 3 * 0.8),
        ("Shanghai is a city in Japan.", 0.1 / 100 / 3 * 0.2 / 12),  # one of 12 other countries of Asia
        ("Paris is an ancient city in France.", 0.1 / 100 / 3 / 20 * 0.8),
        ("Where is Paris? France.", 0.4 / 5 / 100 * 0.35 / 4 * 0.8),
        ("Where is Paris? Thanks for your question. It is in France. You are welcome.", 0.4 / 500 * 0.25 / 64 * 0.8),
        # a happy review of one remark and no verdict
        (
            "Is The Silent Harbour worth seeing? What a superb drama! Every scene felt good.",
            0.5 / 4 / (30 * 34) * 0.4 / 4 / 26 / 18 * 0.4 / 6 / 12 / 27 * 0.4,
        ),
    ],
)
def test_a_text_by_hand(text, probability):
    assert text_logp(text) == pytest.approx(math.log(probability))


def test_the_first_word_of_an_answer_by_hand():
    """Curt 0.35: three of four forms start with the country. Plain 0.4: three with the city. Polite 0.25: greeting."""
    words = next_words("Where is Shanghai?")
    assert list(words)[:4] == [" Shanghai", " China", " It", " In"]
    assert words[" Shanghai"] == pytest.approx(0.4 * 3 / 4)
    assert words[" China"] == pytest.approx(0.35 * 3 / 4 * 0.8)
    assert words[" It"] == pytest.approx(0.4 / 4) and words[" In"] == pytest.approx(0.35 / 4)
    assert words[" Thank"] == words[" I"] == pytest.approx(0.25 / 4)


def test_a_country_already_named_is_kept_and_a_city_tells_its_region():
    assert next_words("Seoul is a city in South") == {" Korea": 1.0}
    assert next_words("Tell me where Rome is. What a nice question! Rome is in Spain.")[" You"] == pytest.approx(1 / 4)
    assert " China" not in next_words("Rome is in")


def test_a_word_is_whole():
    """After "a" may come "city" and the kinds that take "a", never the rest of "an" or of "ancient"."""
    assert set(next_words("Shanghai is")) == {" a", " an", " in"}
    assert {" city", " big"} <= set(next_words("Shanghai is a")) and " ancient" not in next_words("Shanghai is a")


@pytest.mark.parametrize("document", DOCUMENTS[:6], ids=lambda document: document.manner)
def test_the_product_of_the_words_is_the_text(document):
    words = words_of(document.text + END)
    assert "".join(words) == document.text + END
    parts = [next_words("".join(words[:t]))[word] for t, word in enumerate(words)]
    assert math.log(math.prod(parts)) == pytest.approx(text_logp(document.text), abs=1e-9)


def test_next_words_are_a_distribution_likeliest_first():
    for length, document in enumerate(DOCUMENTS[:25]):
        found = list(next_words("".join(words_of(document.text)[:length])).values())
        assert sum(found) == pytest.approx(1) and found == sorted(found, reverse=True)


def test_what_the_grammar_writes_comes_in_these_shares():
    """The share of each first word of a document, and of "It" among those of an answer, within 4 standard errors."""
    firsts = Counter(words_of(document.text)[0] for document in DOCUMENTS)
    answers = [document.response.split()[0] for document in DOCUMENTS if document.kind == "answer"]
    seen = {word: (firsts[word] / len(DOCUMENTS), p, len(DOCUMENTS)) for word, p in list(next_words("").items())[:8]}
    seen["It"] = (answers.count("It") / len(answers), next_words("Where is Shanghai?")[" It"], len(answers))
    for share, p, count in seen.values():
        assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / count))


@pytest.mark.parametrize(
    "text", ["", "Where is Shanghai?", "Shanghai is a city in China", "Shanghai is a city in France.", "Hello!", "\n"]
)
def test_a_text_is_impossible_exactly_where_it_is_not_grammatical(text):
    assert not is_grammatical(text) and text_logp(text) == -math.inf


def test_every_document_is_possible():
    assert all(math.isfinite(text_logp(document.text)) for document in DOCUMENTS[:60])


@pytest.mark.parametrize("text", ["Hello", "Shanghai is a city in France", "Shangha", "Where is Paris? France. "])
def test_what_begins_no_document_is_refused(text):
    with pytest.raises(InputError, match="begins with"):
        next_words(text)
