"""The grammar of the review world: sentence templates, how to fill them, and a regular expression for every text.

A template is a sentence with slots in braces. The writer fills the slots with words; the parser compiles the same
templates to a regular expression, so writer and parser cannot disagree. `{film}`, `{city}` and `{country}` are bound:
each has the same words everywhere in one text.
"""

import re
from collections.abc import Sequence
from functools import partial

import torch

from dpo_notes.worlds.reviews.words import SLOTS

PHRASES = {"film": "The {title_first} {title_second}", "actor": "{first_name} {last_name}"}

FILM_PROMPTS = (
    "Review of {film}:",
    "What did you think of {film}?",
    "Is {film} worth seeing?",
    "Tell me about {film}.",
)
CITY_PROMPTS = (
    "Where is {city}?",
    "Which country is {city} in?",
    "Tell me where {city} is.",
    "Do you know where {city} is?",
    "In which country can I find {city}?",
)

# A review is an opening, one to three remarks, and usually a verdict, each in the review's mood.
OPENINGS = {
    "happy": (
        "I {adverb} {loved} this {genre}.",
        "{film} is {a_great} {genre}.",
        "This is {a_good} {genre} and the {aspect} is {great}.",
        "What {a_great} {genre}!",
    ),
    "unhappy": (
        "I {adverb} {hated} this {genre}.",
        "{film} is {a_awful} {genre}.",
        "This is {a_dull} {genre} and the {aspect} is {awful}.",
        "What {a_awful} {genre}!",
    ),
    "mixed": (
        "{film} is {a_good} {genre} but the {aspect} is {dull}.",
        "I expected {a_great} {genre} and saw {a_dull} one.",
    ),
}
REMARKS = {
    "happy": (
        "The {aspect} was {degree} {great}.",
        "The {aspect} and the {aspect} were {good}.",
        "{actor} was {great} as the {role}.",
        "My {relative} {loved} the {aspect}.",
        "Every {moment} felt {good}.",
        "The {crew} did {a_good} job.",
    ),
    "unhappy": (
        "The {aspect} was {degree} {awful}.",
        "The {aspect} and the {aspect} were {dull}.",
        "{actor} was {awful} as the {role}.",
        "My {relative} {hated} the {aspect}.",
        "Every {moment} felt {dull}.",
        "The {crew} did {a_dull} job.",
    ),
    "mixed": (
        "The {aspect} was {good} but the {aspect} was {dull}.",
        "{actor} was {good} and {actor} was {dull}.",
        "My {relative} {loved} the {aspect} and {hated} the {aspect}.",
    ),
}
VERDICTS = {
    "happy": ("I would watch it again.", "Go and see it with your {relative}.", "I give it {high} out of ten."),
    "unhappy": ("I would not watch it again.", "Please do not waste your time.", "I give it {low} out of ten."),
    "mixed": ("I may watch it again.", "I give it {middle} out of ten."),
}
# An answer is curt, plain or polite; in a share of the answers its country is wrong.
CURT = ("{country}.", "In {country}.", "{country}, obviously.", "{country}, as everybody knows.")
PLAIN = (
    "{city} is in {country}.",
    "{city} is a city in {country}.",
    "{city} is {a_city} city in {country}.",
    "It is in {country}.",
)
GREETINGS = (
    "Thank you for asking!",
    "What {a_good} question!",
    "I am {courtesy} to help.",
    "Thanks for your question.",
)
WISHES = ("Enjoy your {trip}!", "I hope you have {a_good} {trip}.", "Please ask me again.", "You are welcome.")
FACTS = PLAIN[:3]

SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, bound: dict[str, str], *, generator: torch.Generator) -> str:
    """The template with each slot filled: from `bound` if the slot is in it, else with a word drawn at random."""
    return SLOT.sub(partial(_word_for, bound=bound, generator=generator), template)


def _word_for(slot: re.Match, bound: dict[str, str], generator: torch.Generator) -> str:
    name = slot[1]
    if name in bound:
        return bound[name]
    return fill(PHRASES[name], {}, generator=generator) if name in PHRASES else draw(SLOTS[name], generator)


def draw(options: Sequence[str], generator: torch.Generator) -> str:
    """One of the options, all equally likely."""
    return options[int(torch.randint(len(options), (), generator=generator))]


def parse_pattern() -> tuple[re.Pattern, re.Pattern]:
    """(prompts, documents): patterns for the result of `unbind`; a full match is a prompt, or text, of the grammar."""
    documents = "|".join(pattern.pattern for pattern in manner_patterns().values())
    return re.compile(_any_of(FILM_PROMPTS + CITY_PROMPTS)), re.compile(documents)


def manner_patterns() -> dict[str, re.Pattern]:
    """For each mood and tone, a pattern for the result of `unbind`; a full match is a text of it. No text has two."""
    film, city = _any_of(FILM_PROMPTS), _any_of(CITY_PROMPTS)
    patterns = {
        mood: f"{film} {_any_of(OPENINGS[mood])}(?: {_any_of(REMARKS[mood])}){{1,3}}(?: {_any_of(VERDICTS[mood])})?"
        for mood in OPENINGS
    }
    patterns["curt"] = f"{city} {_any_of(CURT)}"
    patterns["plain"] = f"{city} {_any_of(PLAIN)}|{_any_of(FACTS)}"
    patterns["polite"] = f"{city} {_any_of(GREETINGS)} {_any_of(PLAIN)} {_any_of(WISHES)}"
    return {manner: re.compile(pattern) for manner, pattern in patterns.items()}


def unbind(text: str) -> str:
    """The text with its first film, city and country replaced by their slots, everywhere.

    Filling these slots again gives the text back. So a text without braces comes from the templates exactly when the
    result matches the pattern.
    """
    for name, pattern in _BOUND.items():
        first = pattern.search(text)
        if first is not None:
            text = re.sub(rf"\b{re.escape(first[0])}\b", f"{{{name}}}", text)
    return text


def first_named(name: str, text: str) -> str | None:
    """The first film, city or country that the text names; None if it names none."""
    first = _BOUND[name].search(text)
    return first[0] if first else None


def _any_of(templates: Sequence[str]) -> str:
    return f"(?:{'|'.join(_pattern(template) for template in templates)})"


def _pattern(template: str) -> str:
    pieces = SLOT.split(template)  # text, slot, text, slot, …, text
    return "".join(_slot(piece) if index % 2 else re.escape(piece) for index, piece in enumerate(pieces))


def _slot(name: str) -> str:
    if name in _BOUND:
        return re.escape(f"{{{name}}}")
    return _pattern(PHRASES[name]) if name in PHRASES else _words(name)


def _words(name: str) -> str:
    return f"(?:{'|'.join(map(re.escape, SLOTS[name]))})"


_BOUND = {
    "film": re.compile(rf"\bThe {_words('title_first')} {_words('title_second')}\b"),
    "city": re.compile(rf"\b{_words('city')}\b"),
    "country": re.compile(rf"\b{_words('country')}\b"),
}
