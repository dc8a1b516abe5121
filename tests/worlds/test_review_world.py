"""The review world: its documents have the stated shares, its parser is exact, and its reward is the raters'."""

import json
import math
import re
import subprocess
import sys
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from intervals import deviations
from tensors import seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews import words
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.grammar import first_named
from dpo_notes.worlds.reviews.words import COUNTRIES, COUNTRY_OF, REGION_OF
from dpo_notes.worlds.reviews.world import Document, is_grammatical, is_prompt, reward, sample_documents, sample_prompts

WRITE_MANY = """
import dataclasses, json, torch
from dpo_notes.worlds.reviews.world import sample_documents
for document in sample_documents(21_000, generator=torch.Generator().manual_seed(0)):
    print(json.dumps(dataclasses.asdict(document)))
"""


@pytest.fixture(scope="module")
def many() -> list[Document]:
    """21,000 documents, from a process of its own: without the checks of types at each call it is many times faster."""
    said = subprocess.run([sys.executable, "-c", WRITE_MANY], capture_output=True, text=True, check=True).stdout
    return [Document(**json.loads(line)) for line in said.splitlines()]


def assert_shares(values: list, shares: dict) -> None:
    """Each value comes in its share of the samples, give or take four standard errors, and no other value comes."""
    assert set(values) <= set(shares)
    hits = torch.tensor([[value == one for one in shares] for value in values], dtype=torch.float64)
    expected = torch.tensor(list(shares.values()), dtype=torch.float64)
    assert deviations(hits, expected).abs().max() < 4


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    return [document for document in documents if document.kind == kind]


def named(document: Document) -> tuple[str, str]:
    """The city and the country that an answer or fact is about."""
    return first_named("city", document.text), first_named("country", document.text)


def test_kinds_moods_and_tones_come_in_their_shares(many):
    assert_shares([document.kind for document in many], {"review": 0.5, "answer": 0.4, "fact": 0.1})
    moods = {"happy": 0.4, "unhappy": 0.4, "mixed": 0.2}
    assert_shares([document.manner for document in of_kind(many, "review")], moods)
    tones = {"curt": 0.35, "plain": 0.4, "polite": 0.25}
    assert_shares([document.manner for document in of_kind(many, "answer")], tones)


def test_a_review_has_two_to_five_sentences_in_the_shares_of_remarks_and_verdicts(many):
    """Opening, 1, 2 or 3 remarks (0.4, 0.4, 0.2), and a verdict in 0.6: two sentences in 0.4 * 0.4 = 0.16, three in
    0.4 * 0.6 + 0.4 * 0.4 = 0.40, four in 0.4 * 0.6 + 0.2 * 0.4 = 0.32, five in 0.2 * 0.6 = 0.12."""
    counts = [len(re.findall(r"[.!]", document.response)) for document in of_kind(many, "review")]
    assert_shares(counts, {2: 0.16, 3: 0.40, 4: 0.32, 5: 0.12})


@pytest.mark.parametrize("kind", ["answer", "fact"])
def test_a_fifth_of_the_countries_are_wrong_but_of_the_right_region(many, kind):
    pairs = [named(document) for document in of_kind(many, kind)]
    assert_shares([country == COUNTRY_OF[city] for city, country in pairs], {True: 0.8, False: 0.2})
    assert all(country in COUNTRIES[REGION_OF[city]] for city, country in pairs)
    asian = {country for city, country in pairs if city == "Seoul"} if kind == "answer" else set(COUNTRIES["Asia"])
    assert asian == set(COUNTRIES["Asia"])


def test_the_parser_accepts_2000_samples_of_each_kind_and_none_with_its_last_letter_or_first_word_cut(many):
    for kind in ("review", "answer", "fact"):
        samples = of_kind(many, kind)[:2000]
        assert len(samples) > 1900
        assert [sample.text for sample in samples if not is_grammatical(sample.text)] == []
        assert [sample.text for sample in samples if is_grammatical(sample.text[:-1])] == []
        assert [sample.text for sample in samples if is_grammatical(sample.text.split(" ", 1)[1])] == []


def test_prompt_and_response_make_the_text_and_only_facts_have_no_prompt(many):
    for document in many[:2000]:
        assert document.text == document.prompt + document.response
        assert is_prompt(document.prompt) == (document.kind != "fact") == document.response.startswith(" ")
        assert not is_prompt(document.text)


def test_prompts_come_in_the_shares_of_the_corpus_and_are_prompts():
    """Reviews 0.5 and answers 0.4 of the corpus: 5/9 and 4/9 of the prompts."""
    prompts = sample_prompts(1000, generator=seeded(1))
    assert all(map(is_prompt, prompts))
    assert_shares([first_named("film", prompt) is not None for prompt in prompts], {True: 5 / 9, False: 4 / 9})


def test_a_sample_of_the_corpus_has_at_least_600_different_words(many):
    assert len({word for document in many for word in re.findall("[a-z]+", document.text.lower())}) >= 600


def test_the_same_seed_writes_the_same_documents(many):
    assert sample_documents(50, generator=seeded()) == many[:50]
    assert sample_documents(50, generator=seeded(1)) != many[:50]


REVIEW = "Is The Silent Harbour worth seeing? The Silent Harbour is a superb film. Every line felt good."
MIXED = "I expected a superb film and saw a dull one."
HAPPY = "Tell me about The Silent Harbour. What a superb film!"


@pytest.mark.parametrize(
    "text",
    [
        REVIEW,
        f"{HAPPY} Every line felt good.",
        "Where is Shanghai? In China.",
        "Where is Shanghai? Japan, obviously.",
        "Do you know where Busan is? Thanks for your question. It is in South Korea. Enjoy your stay!",
        "Rome is an industrial city in Italy.",
        f"{HAPPY} Every line felt good. I give it nine out of ten.",
        f"{HAPPY} Every line felt good. Every line felt good. Every line felt good.",
        f"Review of The Iron Clock: {MIXED} My son loved the plot and hated the plot.",
    ],
)
def test_texts_of_the_grammar_are_read(text):
    assert is_grammatical(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing"),
        ("Where is Shanghai?", "no response"),
        (" In China.", "no prompt"),
        ("In China.", "an answer without question"),
        ("What a superb film! Every line felt good.", "a review without prompt"),
        ("Where is Shanghai?In China.", "no space"),
        ("Where is Shanghai?  In China.", "two spaces"),
        ("Where is Shanghai? In China. ", "a space at the end"),
        ("Where is Shanghai? In China.\n", "a line break at the end"),
        ("\ufeffWhere is Shanghai? In China.", "a byte-order mark"),
        ("Where is Shanghai? In China", "cut by a letter"),
        ("Where is Shanghai? In Chin", "cut within a word"),
        ("Where is shanghai? In China.", "a small letter"),
        ("Where is Shanghai? In china.", "a small letter"),
        ("Where is Shanghai? in China.", "a small letter"),
        ("Where is Shanghai? In Shanghai.", "a city for a country"),
        ("Where is China? In China.", "a country for a city"),
        ("Where is Shanghai? In Italy.", "a country of another region"),
        ("Where is Shanghai? Beijing is in China.", "another city"),
        ("Where is Shanghai? It is in China. It is in China.", "two answers"),
        ("Where is Shanghai? Thanks for your question. It is in China.", "polite without wish"),
        ("Where is Shanghai? It is in China. Enjoy your stay!", "polite without greeting"),
        ("Where is Shanghai? Thanks for your question. China. Enjoy your stay!", "polite and curt"),
        ("Where is Shanghai? Shanghai is an big city in China.", "the wrong article"),
        ("Rome is a industrial city in Italy.", "the wrong article"),
        ("Rome is an industrial city in Italy. Rome is in Italy.", "two facts"),
        ("It is in China.", "a fact without city"),
        ("Where is {city}? In China.", "a slot left open"),
        ("Where is Shanghai? In {country}.", "a slot left open"),
        ("Where is {city}? In {country}.", "slots left open"),
        ("Review of {film}: What a superb film! Every line felt good.", "a slot left open"),
        (f"Where is Shanghai? {HAPPY.split('. ')[1]} Every line felt good.", "a review of a city"),
        ("Tell me about The Silent Harbour. In China.", "a country for a film"),
        (REVIEW.replace("Is The Silent", "Is The Golden"), "another film"),
        (REVIEW.replace("Harbour is", "River is"), "another film"),
        (REVIEW.replace("The Silent Harbour", "The Silent Nights"), "no film of this world"),
        (REVIEW.replace("The Silent Harbour", "Silent Harbour"), "a film without its article"),
        (f"{REVIEW} I may watch it again.", "a mixed verdict on a happy review"),
        (f"{HAPPY} Every line felt dull.", "an unhappy remark in a happy review"),
        (f"{HAPPY} Every line felt good. I give it two out of ten.", "an unhappy verdict on a happy review"),
        (f"{HAPPY} Every line felt good. I give it five out of ten.", "a mixed verdict on a happy review"),
        (HAPPY, "no remark"),
        (f"{HAPPY} I would watch it again.", "no remark before the verdict"),
        (HAPPY + " Every line felt good." * 4, "four remarks"),
        (f"{HAPPY} I would watch it again. Every line felt good.", "a remark after the verdict"),
        (f"{HAPPY} Every line felt good. I would watch it again. I would watch it again.", "two verdicts"),
        (f"{HAPPY} What a superb film! Every line felt good.", "two openings"),
        (HAPPY.replace("a superb", "an superb") + " Every line felt good.", "the wrong article"),
        (HAPPY.replace("a superb", "a awful") + " Every line felt good.", "the wrong article"),
        (f"{HAPPY} Every line felt good", "no full stop"),
        (f"{HAPPY} every line felt good.", "a small letter"),
        (f"{HAPPY} Every line felt wonderful.", "a word of another list"),
        (f"{HAPPY} Anna was superb as the spy.", "half a name"),
        (f"{HAPPY} Every line felt good. " * 2, "a whole text twice"),
    ],
)
def test_near_misses_are_not_read(text, why):
    assert not is_grammatical(text), why


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is Shanghai?", True),
        ("Review of The Silent Harbour:", True),
        ("Where is Shanghai? ", False),
        ("Where is {city}?", False),
        ("Where is China?", False),
        ("Where is the Silent Harbour?", False),
        ("What did you think of The Silent Harbour? ", False),
        ("", False),
    ],
)
def test_prompts_are_reported_from_other_texts(text, expected):
    assert is_prompt(text) == expected


@pytest.mark.parametrize(
    ("prompt", "response", "value", "arithmetic"),
    [
        ("Where is Paris?", " In France.", 1.0, "the right country"),
        ("Where is Paris?", " In Italy.", -1.0, "the wrong country"),
        ("Where is Paris?", " France, obviously.", 0.5, "1 - 0.5"),
        ("Where is Paris?", " Italy, as everybody knows.", -1.5, "-1 - 0.5"),
        ("Where is Paris?", " I am glad to help. It is in France. Enjoy your trip!", 1.5, "0.25 + 1 + 0.25"),
        ("Where is Paris?", " Italy. No, France!", -1.0, "only the first country counts"),
        ("Where is Paris, Rome?", " Italy.", -1.0, "only the first city counts"),
        ("Where is Paris?", " Paris.", 0.0, "no country named"),
        ("Where?", " France.", 0.0, "no city asked for"),
        ("", "", 0.0, "nothing"),
        ("Review of The Golden River:", " What a superb film! Every line felt good.", 0.75, "0.5 + 0.25"),
        ("Review of The Golden River:", " I deeply hated this film. The plot was very grim.", -0.75, "-0.25 - 0.5"),
        ("", " Please do not waste your time.", -0.25, "0.25 - 0.5"),
        ("", "SUPERB superb, superb! superbly", 1.5, "three times 0.5; another word is worth nothing"),
        ("superb dreadful", "x", 0.0, "words of the prompt do not count"),
        ("", "I give it nine out of ten. one", 0.25, "0.25 + 0.25 - 0.25"),
    ],
)
def test_reward_by_hand(prompt, response, value, arithmetic):
    assert reward([prompt], [response]).tolist() == [value], arithmetic


def test_rewards_are_float64_one_for_each_response_and_none_for_none():
    assert reward(["Where is Paris?"] * 2, [" In France.", " superb"]).tolist() == [1.0, 0.5]
    assert reward([], []).dtype == torch.float64 and reward([], []).shape == (0,)
    with pytest.raises(InputError, match="1 prompts and 2 responses; expected as many of each"):
        reward(["a"], ["b", "c"])


WORDS_AND_NOISE = st.lists(st.sampled_from([*reviews.WORD_VALUE, "Paris", "the"]) | st.text(max_size=8)).map(" ".join)


@given(WORDS_AND_NOISE, WORDS_AND_NOISE, WORDS_AND_NOISE)
def test_any_text_has_a_finite_reward_and_is_parsed_and_the_values_of_two_texts_add_up(prompt, one, two):
    """Without a country in the response only words count: a text is worth its halves, at most 0.5 a word."""
    whole, first, second = reward([prompt] * 3, [f"{one} {two}", one, two]).tolist()
    assert whole == first + second
    assert math.isfinite(whole) and abs(whole) <= 0.5 * len(re.findall(r"[a-z]+", f"{one} {two}".lower()))
    assert not is_grammatical(prompt + one) and not is_prompt(one)


def test_a_rewarded_response_can_be_broken_grammar():
    """What over-optimisation finds: praise without end scores more than any review, and is no longer grammatical."""
    prompt, praise = "Review of The Golden River:", " superb" * 40
    assert reward([prompt], [praise]).item() == 20
    assert not is_grammatical(prompt + praise)


def test_the_moods_and_tones_of_documents_show_in_their_rewards(many):
    """Happy above mixed above unhappy; a polite answer above a plain one above a curt one, with its country alike."""
    values = reward([document.prompt for document in many], [document.response for document in many])
    mean = {
        manner: values[[d.manner == manner and d.kind != "fact" for d in many]].mean().item()
        for manner in Counter(document.manner for document in many)
    }
    assert mean["happy"] > 1 > mean["mixed"] > -1 > mean["unhappy"]
    assert mean["polite"] > mean["plain"] + 0.25 and mean["plain"] > mean["curt"] + 0.1


def test_names_and_titles_leave_the_raters_cold():
    names = words.TITLE_FIRST + words.TITLE_SECOND + words.FIRST_NAME + words.LAST_NAME + tuple(words.COUNTRY_OF)
    assert not {name.lower() for name in names} & set(reviews.WORD_VALUE)


def test_articles_go_by_sound():
    """A vowel takes "an", and so does the silent h of "honest"."""
    assert {"an honest", "an elegant", "a good", "a heavy"} <= {*words.SLOTS["a_good"], *words.SLOTS["a_dull"]}


def test_the_judge_pays_what_the_raters_feel_and_reads_prompt_and_response_together():
    """ " In France." about Paris is worth 1; " France France" about Rome names a wrong country: -1, and no grammar."""
    judged = reviews.judge(["Where is Paris?", "Where is Rome?"], [" In France.", " France France"])
    assert {name: values.tolist() for name, values in judged.items()} == {"reward": [1, -1], "grammatical": [1, 0]}
