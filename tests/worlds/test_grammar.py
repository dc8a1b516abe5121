"""The review grammar: slots are filled and put back, and one regular expression reads what the writer writes."""

import re
from collections import Counter
from itertools import chain, combinations, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from intervals import deviations
from tensors import seeded

from dpo_notes.worlds.reviews import grammar
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.grammar import PHRASES, SLOT, draw, fill, first_named, unbind
from dpo_notes.worlds.reviews.words import COUNTRIES, COUNTRY_OF, REGION_OF, REGIONS, SLOTS

TEMPLATES = [
    *grammar.FILM_PROMPTS,
    *grammar.CITY_PROMPTS,
    *chain(*grammar.OPENINGS.values(), *grammar.REMARKS.values(), *grammar.VERDICTS.values()),
    *(grammar.CURT + grammar.PLAIN + grammar.GREETINGS + grammar.WISHES),
]


def test_every_slot_of_a_template_has_words_and_every_list_of_words_has_a_slot():
    named = {name for template in [*TEMPLATES, *PHRASES.values()] for name in SLOT.findall(template)}
    assert named == set(SLOTS) | set(PHRASES)


@pytest.mark.parametrize("name", SLOTS)
def test_no_word_comes_twice_in_its_list_so_that_all_are_equally_likely(name):
    assert [word for word, count in Counter(SLOTS[name]).items() if count > 1] == []


def test_no_word_means_two_moods_or_has_two_values():
    groups = [SLOTS[name] for name in ("great", "good", "dull", "awful", "loved", "hated", "high", "low", "courtesy")]
    assert all(set(a).isdisjoint(b) for a, b in combinations(groups, 2))


def test_a_city_lies_in_one_country_and_a_country_in_one_region_with_others_to_confuse_it_with():
    assert sum(map(len, REGIONS.values())) == len(COUNTRY_OF) == len(REGION_OF)
    assert all(set(a).isdisjoint(b) for a, b in combinations(COUNTRIES.values(), 2))
    assert all(len(countries) > 1 for countries in COUNTRIES.values())
    assert set(COUNTRY_OF).isdisjoint(COUNTRY_OF.values())


def test_every_word_with_a_value_can_be_written():
    writable = " ".join([*TEMPLATES, *chain(*SLOTS.values())])
    assert set(reviews.WORD_VALUE) <= set(re.findall("[a-z]+", writable.lower()))


def test_filling_takes_bound_words_as_they_are_and_draws_the_others():
    bound = {"city": "Rome", "country": "Italy"}
    text = fill("{city} is {a_city} city in {country}.", bound, generator=seeded())
    assert text in {f"Rome is {kind} city in Italy." for kind in SLOTS["a_city"]}
    assert fill("Please ask me again.", {}, generator=seeded()) == "Please ask me again."


def test_a_phrase_is_filled_piece_by_piece_anew_at_each_place():
    names = {f"{first} {last}" for first, last in product(SLOTS["first_name"], SLOTS["last_name"])}
    filled = [fill("{actor} and {actor}", {}, generator=seeded(seed)).split(" and ") for seed in range(20)]
    assert set(chain(*filled)) <= names
    assert any(one != other for one, other in filled)


def test_all_options_are_equally_likely():
    """8000 draws of 8: each comes 1000 times, give or take four standard errors."""
    generator = seeded()
    drawn = torch.tensor([int(draw("01234567", generator)) for _ in range(8000)])
    counts = torch.nn.functional.one_hot(drawn, 8).double()
    assert deviations(counts, 1 / 8).abs().max() < 4


def test_the_same_seed_fills_the_same_words():
    template = "{film} {actor} {city} {a_good}"
    assert fill(template, {}, generator=seeded(3)) == fill(template, {}, generator=seeded(3))


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("film", "I saw The Silent Harbour and The Golden River.", "The Silent Harbour"),
        ("film", "I saw the Silent Harbour.", None),
        ("film", "The Silent Harbours are The Silent", None),
        ("city", "Parisian cafés of Lyon, near Paris", "Lyon"),
        ("city", "paris", None),
        ("country", "SouthKorea or South Korea or France", "South Korea"),
        ("country", "Indiana, Greeces", None),
        ("country", "", None),
    ],
)
def test_the_first_name_in_a_text_is_a_whole_word(name, text, found):
    assert first_named(name, text) == found


def test_all_places_of_the_first_film_city_and_country_become_slots_and_other_names_stay():
    text = (
        "Is The Silent Harbour in Paris? Paris is in France. The Silent Harbour is not. The Golden River, Lyon, Spain!"
    )
    slots = "Is {film} in {city}? {city} is in {country}. {film} is not. The Golden River, Lyon, Spain!"
    assert unbind(text) == slots


PIECES = ["The Silent Harbour", "The Golden River", "Paris", "Lyon", "France", "South Korea", "The", "Paris.", "Silent"]


@given(st.lists(st.sampled_from(PIECES) | st.text(st.characters(exclude_characters="{}"), max_size=5)))
def test_filling_the_slots_again_gives_any_text_back(pieces):
    text = " ".join(pieces)
    bound = {name: first_named(name, text) or "" for name in ("film", "city", "country")}
    assert fill(unbind(text), bound, generator=seeded()) == text


def in_alphabet(words: str, *, start: str, longest: int) -> set[str]:
    """All grammatical texts of up to `longest` words of an alphabet (separated by |) after `start`, by trying all."""
    alphabet = words.split("|")
    tried = chain(*(product(alphabet, repeat=length) for length in range(longest + 1)))
    return {text for text in (" ".join(pieces) for pieces in tried) if reviews.is_grammatical(start + text)}


def test_of_all_word_strings_over_small_alphabets_exactly_those_of_the_grammar_are_read():
    """Counted by hand from the templates: 3,906 strings twice, as an answer and as a fact, and 4,681 curt ones."""
    question, words = "Which country is Paris in? ", "Paris|is|a city|in|France."
    facts = {"Paris is in France.", "Paris is a city in France."}
    assert in_alphabet(words, start=question, longest=5) == facts | {"France."}
    assert in_alphabet(words, start="", longest=5) == facts
    words = "It|is|in|In|France.|France,|obviously.|as everybody knows."
    curt = {"France.", "In France.", "It is in France.", "France, obviously.", "France, as everybody knows."}
    assert in_alphabet(words, start=question, longest=4) == curt


def test_of_all_orders_of_sentences_a_review_is_opening_one_to_three_remarks_and_perhaps_a_verdict_of_one_mood():
    """Six sentences, three of each of two moods; all 9,331 strings of up to five of them."""
    happy = ("What a superb film!", "Every line felt good.", "I would watch it again.")
    unhappy = ("What a terrible film!", "The crew did a dull job.", "I give it one out of ten.")
    expected = {
        " ".join([opening, *[remark] * count, *end])
        for opening, remark, verdict in (happy, unhappy)
        for count, end in product((1, 2, 3), ([], [verdict]))
    }
    start = "Tell me about The Silent Harbour. "
    assert in_alphabet("|".join(happy + unhappy), start=start, longest=5) == expected


def readings(templates: tuple[str, ...], text: str, bound: dict[str, str]):
    """(what is left, bound words) of every way in which a template matches the beginning of `text`, without regex."""
    for template in templates:
        head, *slot_and_tail = re.split(r"\{(\w+)\}", template, maxsplit=1)
        if not text.startswith(head):
            continue
        rest = text[len(head) :]
        if not slot_and_tail:
            yield rest, bound
            continue
        name, tail = slot_and_tail
        is_name = name in ("film", "city", "country")
        if name in bound:
            options = [bound[name]]
        elif name in PHRASES:
            first, second = SLOT.findall(PHRASES[name])
            options = [PHRASES[name].format(**{first: a, second: b}) for a, b in product(SLOTS[first], SLOTS[second])]
        else:
            options = SLOTS[name]
        for word in options:
            if rest.startswith(word):
                yield from readings((tail,), rest[len(word) :], bound | {name: word} if is_name else bound)


def sentences(groups: list[tuple[str, ...]], text: str, bound: dict[str, str]) -> bool:
    """Whether `text` is one sentence of each group in turn, each after a space."""
    if not groups:
        return text == "" and ("city" not in bound or bound["country"] in COUNTRIES[REGION_OF[bound["city"]]])
    found = readings(groups[0], text[1:], bound) if text.startswith(" ") else ()
    return any(sentences(groups[1:], rest, more) for rest, more in found)


def naive_is_grammatical(text: str) -> bool:
    """The grammar read sentence by sentence, as it is described, with plain string comparison."""
    reviews_ = [
        [grammar.OPENINGS[mood]] + [grammar.REMARKS[mood]] * count + end
        for mood in grammar.OPENINGS
        for count in (1, 2, 3)
        for end in ([], [grammar.VERDICTS[mood]])
    ]
    answers = [[grammar.CURT + grammar.PLAIN], [grammar.GREETINGS, grammar.PLAIN, grammar.WISHES]]
    after_film = any(
        sentences(groups, rest, bound)
        for rest, bound in readings(grammar.FILM_PROMPTS, text, {})
        for groups in reviews_
    )
    after_city = any(
        sentences(groups, rest, bound) for rest, bound in readings(grammar.CITY_PROMPTS, text, {}) for groups in answers
    )
    return after_film or after_city or sentences([grammar.FACTS], " " + text, {})


def test_the_regular_expression_agrees_with_a_naive_parser_on_texts_with_a_word_or_sentence_changed():
    """600 texts: one in four as written; else a word or sentence is replaced, dropped, doubled or inserted."""
    generator = seeded()

    def below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    texts = [document.text for document in reviews.sample_documents(300, generator=generator)]
    verdicts = Counter()
    for number in range(600):
        text = texts[below(len(texts))]
        if number % 4:
            border = r"(?<=[.!?:]) " if number % 2 else " "
            pieces, others = (re.split(border, some) for some in (text, texts[below(len(texts))]))
            place, other = below(len(pieces)), others[below(len(others))]
            pieces[place : place + 1] = [[other], [], [pieces[place]] * 2, [pieces[place], other]][below(4)]
            text = " ".join(pieces)
        expected = naive_is_grammatical(text)
        assert reviews.is_grammatical(text) == expected, text
        verdicts[expected] += 1
    assert min(verdicts.values()) > 150
