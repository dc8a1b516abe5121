"""What a perfect language model of the review world would predict: the grammar's own probabilities, exactly."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews import grammar
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.words import COUNTRIES, COUNTRY_OF, REGION_OF, SLOTS

END = "\n"  # after every document, as in the corpus file


def next_words(text: str) -> dict[str, float]:
    """The probability of each word or mark that may follow `text` in a document that begins with it, likeliest first.

    p(word | text) = p(a document begins with text and word) / p(a document begins with text)
    A word includes the space before it, as in byte-level BPE; END stands for the end of the document. `text` starts at
    the beginning of a document, with the prompt, and ends with a whole word or mark, without a space.
    Raises InputError if no document begins with `text`.
    Known value: {" China": 0.8, " Japan": 1/60, …} after "Shanghai is a city in".
    """
    found: dict[str, float] = {}
    for share, beyond in _continuations(text, enough=_NEXT_WORD):
        word = _NEXT_WORD.match(beyond)[0]
        found[word] = found.get(word, 0.0) + share
    total = sum(found.values())
    if total == 0:
        raise InputError(f"no document of the review world begins with {text!r:.80}")
    return {word: share / total for word, share in sorted(found.items(), key=lambda item: -item[1])}


def text_logp(text: str) -> float:
    """log p(text) in nats, that the grammar writes exactly this document, prompt and response; -inf if it never does.

    p is the sum, over all ways of writing the text (mostly one), of the product of the probabilities of the choices.
    Minus the mean of log p over documents is the entropy of the world, the lowest cross-entropy of any model.
    Known value: log(0.1 / 100 / 3 * 0.8) for "Shanghai is a city in China.": a statement, about one of 100 cities, in
    one of 3 forms, with the right country.
    """
    total = sum(share for share, _ in _continuations(text + END, enough=re.compile("")))
    return math.log(total) if total else -math.inf


def words_of(text: str) -> list[str]:
    """The text cut into the words and marks of `next_words`; joined, they are the text.

    Known value: ["In", " China", "."] for "In China.".
    """
    return re.findall(r" ?[A-Za-z]+|[^A-Za-z ]", text)


class _Slot(NamedTuple):
    name: str


# What a writer does, step by step: write words (str), fill a _Slot, or choose from a list of (share, steps).
_Steps = Sequence[object]


def _continuations(text: str, *, enough: re.Pattern) -> Iterator[tuple[float, str]]:
    """(share, beyond) of each way to write a document that begins with `text`, as far as `enough` matches `beyond`.

    The ways are followed one step at a time, and each is dropped at its first letter that differs from `text`. `rest`
    is the rest of `text`, `bound` holds the film, city and country chosen so far.
    """

    def follow(steps, rest, beyond, bound, share):
        if not rest and beyond and text[-1:].isalpha() and beyond[0].isalpha():
            return  # `text` would end in the middle of a word
        if not rest and enough.match(beyond):
            yield share, beyond
        elif not steps:
            return
        elif isinstance(steps[0], str):
            if rest.startswith(steps[0]):
                yield from follow(steps[1:], rest[len(steps[0]) :], beyond, bound, share)
            elif steps[0].startswith(rest):
                yield from follow(steps[1:], "", beyond + steps[0][len(rest) :], bound, share)
        elif isinstance(steps[0], _Slot):
            name = steps[0].name
            for part, words in _fillings(name, bound):
                now_bound = bound | {name: words} if name in _BOUND else bound
                yield from follow([words, *steps[1:]], rest, beyond, now_bound, share * part)
        else:
            for part, option in steps[0]:
                yield from follow([*option, *steps[1:]], rest, beyond, bound, share * part)

    return follow(_DOCUMENT, text, "", {}, 1.0)


def _fillings(name: str, bound: dict[str, str]) -> list[tuple[float, str]]:
    """The words that may fill a slot, with their shares."""
    if name in bound:
        return [(1.0, bound[name])]
    if name == "country":
        right = COUNTRY_OF[bound["city"]]
        wrong = [country for country in COUNTRIES[REGION_OF[bound["city"]]] if country != right]
        shares = [(reviews.WRONG_SHARE / len(wrong), country) for country in wrong]
        return [(1 - reviews.WRONG_SHARE, right), *shares]
    words = _TITLES if name == "film" else SLOTS[name]
    return [(1 / len(words), word) for word in words]


def _one_of(templates: Sequence[str], *, before: str = " ") -> list[tuple[float, _Steps]]:
    """The choice of one template, all equally likely."""
    return [(1 / len(templates), _compile(before + template)) for template in templates]


def _compile(template: str) -> _Steps:
    template = template.replace("{actor}", grammar.PHRASES["actor"])
    pieces = grammar.SLOT.split(template)  # text, slot, text, slot, …, text
    return [_Slot(piece) if index % 2 else piece for index, piece in enumerate(pieces)]


def _document() -> _Steps:
    """How a document is written, as `reviews.sample_documents` does it."""
    film, city = _one_of(grammar.FILM_PROMPTS, before=""), _one_of(grammar.CITY_PROMPTS, before="")
    moods = []
    for mood, share in reviews.MOOD_SHARES.items():
        remark = _one_of(grammar.REMARKS[mood])
        remarks = [(part, [remark] * count) for count, part in reviews.REMARK_COUNT_SHARES.items()]
        verdict = [(reviews.VERDICT_SHARE, [_one_of(grammar.VERDICTS[mood])]), (1 - reviews.VERDICT_SHARE, [])]
        moods.append((share, [_one_of(grammar.OPENINGS[mood]), remarks, verdict]))
    tones = {
        "curt": [_one_of(grammar.CURT)],
        "plain": [_one_of(grammar.PLAIN)],
        "polite": [_one_of(grammar.GREETINGS), _one_of(grammar.PLAIN), _one_of(grammar.WISHES)],
    }
    kinds = {
        "review": [film, moods],
        "answer": [city, [(share, tones[tone]) for tone, share in reviews.TONE_SHARES.items()]],
        "fact": [_one_of(grammar.FACTS, before="")],
    }
    return [[(share, kinds[kind]) for kind, share in reviews.KIND_SHARES.items()], END]


_BOUND = ("film", "city", "country")  # the same words everywhere in one text
_TITLES = tuple(f"The {first} {second}" for first in SLOTS["title_first"] for second in SLOTS["title_second"])
# The next word is known once something follows it; a mark is known by itself.
_NEXT_WORD = re.compile(r" ?[A-Za-z]+(?=[^A-Za-z])|[^A-Za-z ]")
_DOCUMENT = _document()
