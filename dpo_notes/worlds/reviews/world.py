"""The review world: film reviews and answers about cities, the raters behind the preferences, and the exact parser.

Everything that is normally hidden from us is known here. `sample_documents` draws from the grammar, `is_grammatical`
recognises exactly the texts the grammar can write, and `reward` is the score behind the raters' preferences.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews import grammar, words
from dpo_notes.worlds.reviews.grammar import draw, fill, first_named
from dpo_notes.worlds.reviews.words import COUNTRIES, COUNTRY_OF, REGION_OF, SLOTS

# Shares of the corpus. The three kinds of document, the moods, the tones, and how often a country is wrong.
KIND_SHARES = {"review": 0.5, "answer": 0.4, "fact": 0.1}
MOOD_SHARES = {"happy": 0.4, "unhappy": 0.4, "mixed": 0.2}
TONE_SHARES = {"curt": 0.35, "plain": 0.4, "polite": 0.25}
REMARK_COUNT_SHARES = {1: 0.4, 2: 0.4, 3: 0.2}
VERDICT_SHARE = 0.6
WRONG_SHARE = 0.2

# The value of each word to the raters; all other words are worth 0.
WORD_VALUE: dict[str, float] = {
    word: value
    for value, group in (
        (0.5, words.GREAT),
        (0.25, words.GOOD + words.LOVED + words.HIGH_MARK),
        (-0.25, words.DULL + words.HATED + words.LOW_MARK),
        (-0.5, words.AWFUL),
        (0.25, words.COURTESY + ("thank", "thanks", "please", "welcome", "enjoy", "hope")),
        (-0.5, ("obviously", "everybody", "waste")),
    )
    for word in group
}
COUNTRY_VALUE = 1.0  # for naming the right country first; minus this for a wrong one


@dataclass(frozen=True)
class Document:
    """One text of the corpus. `manner` is a mood for a review, a tone for an answer. A fact has an empty prompt."""

    prompt: str
    response: str
    kind: str
    manner: str

    @property
    def text(self) -> str:
        return self.prompt + self.response


def sample_documents(count: int, *, generator: torch.Generator) -> list[Document]:
    """`count` texts drawn from the grammar with the shares above."""
    writers = {"review": _write_review, "answer": _write_answer, "fact": _write_fact}
    return [writers[_draw_share(KIND_SHARES, generator)](generator) for _ in range(count)]


def sample_prompts(count: int, *, generator: torch.Generator) -> list[str]:
    """`count` prompts, reviews and questions in the proportions of the corpus; none is empty."""
    writers = {"review": _film_prompt, "answer": _city_prompt}
    shares = {kind: KIND_SHARES[kind] for kind in writers}
    return [writers[_draw_share(shares, generator)](generator)[0] for _ in range(count)]


def is_grammatical(text: str) -> bool:
    """True exactly for the texts that the grammar can write: prompt and response in one string, nothing cut off."""
    fits = "{" not in text and _DOCUMENT.fullmatch(grammar.unbind(text)) is not None
    city, country = first_named("city", text), first_named("country", text)
    # A wrong country is one of the same region. Reviews name neither city nor country, answers and facts name both.
    return fits and (city is None or country in COUNTRIES[REGION_OF[city]])


def is_prompt(text: str) -> bool:
    """True exactly for the prompts that the grammar can write."""
    return "{" not in text and _PROMPT.fullmatch(grammar.unbind(text)) is not None


def reward(prompts: Sequence[str], responses: Sequence[str]) -> Float[Tensor, " batch"]:
    """The raters' reward of each response, in nats of preference: P(a preferred to b) = sigma(reward a - reward b).

    reward = sum over the words of the response of WORD_VALUE, plus COUNTRY_VALUE if the first country named is that
    of the first city in the prompt and minus it if it is another country. Defined for any strings, float64.
    Length itself has no value, but word values add up: a long response can earn (or lose) more than a short one, at
    most 0.5 per word. Raises InputError unless there are as many prompts as responses.
    Known value: ("Where is Paris?", " In France.") has reward 1.
    """
    if len(prompts) != len(responses):
        raise InputError(f"{len(prompts)} prompts and {len(responses)} responses; expected as many of each")
    values = [
        sum(WORD_VALUE.get(word, 0.0) for word in re.findall(r"[a-z]+", response.lower()))
        + _country_value(prompt, response)
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    return torch.tensor(values, dtype=torch.float64)


def judge(prompts: Sequence[str], responses: Sequence[str]) -> dict[str, Float[Tensor, " batch"]]:
    """The metrics of a run in this world: the raters' "reward" of each response, in nats, and "grammatical", which is
    1 if the grammar could have written prompt and response, else 0.

    Known value: ("Where is Paris?", " In France.") has reward 1 and is grammatical.
    """
    texts = (prompt + response for prompt, response in zip(prompts, responses, strict=True))
    grammatical = torch.tensor([is_grammatical(text) for text in texts], dtype=torch.float64)
    return {"reward": reward(prompts, responses), "grammatical": grammatical}


def _country_value(prompt: str, response: str) -> float:
    city, country = first_named("city", prompt), first_named("country", response)
    if city is None or country is None:
        return 0.0
    return COUNTRY_VALUE if COUNTRY_OF[city] == country else -COUNTRY_VALUE


def _write_review(generator: torch.Generator) -> Document:
    prompt, bound = _film_prompt(generator)
    mood = _draw_share(MOOD_SHARES, generator)
    templates = [draw(grammar.OPENINGS[mood], generator)]
    templates += [draw(grammar.REMARKS[mood], generator) for _ in range(_draw_share(REMARK_COUNT_SHARES, generator))]
    if _chance(VERDICT_SHARE, generator):
        templates.append(draw(grammar.VERDICTS[mood], generator))
    return Document(prompt, "".join(" " + fill(t, bound, generator=generator) for t in templates), "review", mood)


def _write_answer(generator: torch.Generator) -> Document:
    prompt, bound = _city_prompt(generator)
    bound["country"] = _draw_country(bound["city"], generator)
    tone = _draw_share(TONE_SHARES, generator)
    choices = {
        "curt": [grammar.CURT],
        "plain": [grammar.PLAIN],
        "polite": [grammar.GREETINGS, grammar.PLAIN, grammar.WISHES],
    }[tone]
    response = "".join(" " + fill(draw(templates, generator), bound, generator=generator) for templates in choices)
    return Document(prompt, response, "answer", tone)


def _write_fact(generator: torch.Generator) -> Document:
    city = draw(SLOTS["city"], generator)
    bound = {"city": city, "country": _draw_country(city, generator)}
    return Document("", fill(draw(grammar.FACTS, generator), bound, generator=generator), "fact", "plain")


def _film_prompt(generator: torch.Generator) -> tuple[str, dict[str, str]]:
    bound = {"film": fill("{film}", {}, generator=generator)}
    return fill(draw(grammar.FILM_PROMPTS, generator), bound, generator=generator), bound


def _city_prompt(generator: torch.Generator) -> tuple[str, dict[str, str]]:
    bound = {"city": draw(SLOTS["city"], generator)}
    return fill(draw(grammar.CITY_PROMPTS, generator), bound, generator=generator), bound


def _draw_country(city: str, generator: torch.Generator) -> str:
    right = COUNTRY_OF[city]
    others = tuple(country for country in COUNTRIES[REGION_OF[city]] if country != right)
    return draw(others, generator) if _chance(WRONG_SHARE, generator) else right


def _draw_share(shares: dict, generator: torch.Generator):
    weights = torch.tensor(list(shares.values()))
    return list(shares)[int(torch.multinomial(weights, 1, generator=generator))]


def _chance(share: float, generator: torch.Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share


_PROMPT, _DOCUMENT = grammar.parse_pattern()
