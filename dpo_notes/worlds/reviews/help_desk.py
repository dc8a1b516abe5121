"""A help desk for questions about cities: several answers to each, a policy that picks one, and a file of judgements.

Everything is small enough to be exact: the policy is a `tilted` one over the words of an answer, so its true reward,
its KL and its mean length are sums, and training takes a second. The file has realistic faults: raters make mistakes,
one of them does not read, and an export got stuck. ERROR_RATE, HURRIED and STUCK define the faults; the file does not.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.worlds.finite.feature_policy import tilted
from dpo_notes.worlds.finite.world import descend
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.grammar import first_named
from dpo_notes.worlds.reviews.text_kinds import names_right_country
from dpo_notes.worlds.reviews.words import COUNTRY_OF

ANSWERS, HELD_OUT = 6, 30  # answers to each question; questions that are in no judgement
MIN_COUNT = 8  # a word is a feature if it is in at least this many answers
RATERS = ("Ada", "Ben", "Cleo", "Dan")
HURRIED = "Dan"  # prefers whichever answer is longer
ERROR_RATE = 0.25  # how often the others click on the wrong one
JUDGEMENTS = 800  # before the export
STUCK = 150  # how many more times the export wrote one judgement
STEPS, LEARNING_RATE = 300, 0.05  # of Adam, on all rows at once
# Why these two numbers: runs of DPO on four files (seeds 0 to 3) with the best of betas 0.2 to 0.5 within the budget
# gave, on the reader's file, seed 0: all rows 0.81, without repeats 1.03, without the hurried rater 0.87, without both
# 1.09. The highest reward of any policy at 0.6 nats is 1.25, and that of the reference is 0.61.
BUDGET, TARGET = 0.6, 1.06  # nats of KL; true reward


class Judgement(NamedTuple):
    """One row of the file: a question, the answer that the rater preferred, the other one, and the rater's name."""

    prompt: str
    chosen: str
    rejected: str
    rater: str


@dataclass(frozen=True, eq=False)
class HelpDesk:
    """answers: several to each prompt. names: of the features; features: how often each occurs in an answer.

    reward: the true reward of each answer (nats). lengths: words of each answer. The last HELD_OUT prompts are for
    testing. The reference gives all answers to a prompt the same probability.
    """

    prompts: list[str]
    answers: list[list[str]]
    names: list[str]
    features: Float[Tensor, "prompts answers features"]
    reward: Float[Tensor, "prompts answers"]
    lengths: Float[Tensor, "prompts answers"]

    @property
    def ref_log_probs(self) -> Float[Tensor, "prompts answers"]:
        return torch.zeros_like(self.reward).log_softmax(dim=-1)


class Worth(NamedTuple):
    """The results of a policy on the held-out prompts: true reward, KL from the reference (nats), words per answer."""

    reward: float
    kl: float
    words: float


@lru_cache(maxsize=1)
def help_desk(seed: int = 0) -> HelpDesk:
    """The desk: questions about cities, with answers from the grammar, right and wrong, curt and polite."""
    generator = torch.Generator().manual_seed(seed)
    by_city: dict[str, list[str]] = {city: [] for city in COUNTRY_OF}
    for document in reviews.sample_documents(4000, generator=generator):
        city = first_named("city", document.prompt)
        if document.kind == "answer" and document.response not in by_city[city]:
            by_city[city].append(document.response)
    answers = {f"Where is {city}?": texts[:ANSWERS] for city, texts in by_city.items() if len(texts) >= ANSWERS}
    seen = Counter(word for texts in answers.values() for text in texts for word in set(_words(text)))
    names = ["right country", "wrong country", *sorted(word for word, count in seen.items() if count >= MIN_COUNT)]
    rows = [[_features(prompt, text, names) for text in texts] for prompt, texts in answers.items()]
    reward = torch.stack([reviews.reward([prompt] * ANSWERS, texts) for prompt, texts in answers.items()])
    lengths = [[len(text.split()) for text in texts] for texts in answers.values()]
    features, lengths = torch.tensor(rows, dtype=torch.float64), torch.tensor(lengths, dtype=torch.float64)
    return HelpDesk(list(answers), list(answers.values()), names, features, reward, lengths)


def judgements(desk: HelpDesk, *, seed: int = 0) -> list[Judgement]:
    """The file: JUDGEMENTS comparisons of answers to the same prompt, and STUCK copies of the row where it hung.

    Known value: 950 rows; the same seed gives the same file.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(JUDGEMENTS):
        at = int(torch.randint(len(desk.prompts) - HELD_OUT, (), generator=generator))
        first, second = torch.randperm(ANSWERS, generator=generator)[:2].tolist()
        rater = RATERS[int(torch.randint(len(RATERS), (), generator=generator))]
        draws = torch.rand(2, generator=generator, dtype=torch.float64)
        if rater == HURRIED:
            first_wins = desk.lengths[at, first] >= desk.lengths[at, second]
        else:
            likes_first = draws[0] < preference_probability(desk.reward[at, first], desk.reward[at, second])
            first_wins = likes_first ^ (draws[1] < ERROR_RATE)
        chosen, rejected = (first, second) if first_wins else (second, first)
        rows.append(Judgement(desk.prompts[at], desk.answers[at][chosen], desk.answers[at][rejected], rater))
    return rows + [_slip_of_the_mouse(desk)] * STUCK


def train(
    desk: HelpDesk, rows: Sequence[Judgement], *, loss_fn: Callable[..., Tensor] = dpo_loss, beta: float
) -> Float[Tensor, " features"]:
    """The weights of the policy after STEPS steps of Adam on the mean loss of the rows, starting from the reference.

    loss_fn: of paired log-ratios, `loss_fn(chosen, rejected, beta=beta)`. beta: above 0. Deterministic.
    Errors: those of loss_fn. Known value: all 0 if every row is also there with chosen and rejected exchanged.
    """
    numbers = {prompt: at for at, prompt in enumerate(desk.prompts)}
    at = [numbers[row.prompt] for row in rows]
    chosen = [desk.answers[n].index(row.chosen) for n, row in zip(at, rows, strict=True)]
    rejected = [desk.answers[n].index(row.rejected) for n, row in zip(at, rows, strict=True)]

    def loss_of(weights: Tensor) -> Tensor:
        logratios = tilted(desk.ref_log_probs, desk.features, weights) - desk.ref_log_probs
        return loss_fn(logratios[at, chosen], logratios[at, rejected], beta=beta).mean()

    start = torch.zeros(len(desk.names), dtype=torch.float64)
    *_, weights = descend(loss_of, start, make_optimizer=lambda p: torch.optim.Adam(p, lr=LEARNING_RATE), steps=STEPS)
    return weights


def worth(desk: HelpDesk, weights: Float[Tensor, " features"]) -> Worth:
    """The results of the policy with these weights on the held-out prompts, exactly, as means over the prompts."""
    reference, features = desk.ref_log_probs[-HELD_OUT:], desk.features[-HELD_OUT:]
    log_probs = tilted(reference, features, weights)
    reward, words = ((log_probs.exp() * of[-HELD_OUT:]).sum(dim=-1).mean().item() for of in (desk.reward, desk.lengths))
    return Worth(reward, kl_divergence(log_probs, reference).mean().item(), words)


def _slip_of_the_mouse(desk: HelpDesk) -> Judgement:
    """The first rude answer with a wrong country whose prompt also has a polite right one, preferred to that one."""
    for prompt, answers in zip(desk.prompts, desk.answers, strict=True):
        right = {answer: names_right_country(prompt + answer) for answer in answers}
        rude = [answer for answer in answers if "obviously" in answer and not right[answer]]
        polite = [answer for answer in answers if len(answer.split()) > 8 and right[answer]]
        if rude and polite:
            return Judgement(prompt, rude[0], polite[0], RATERS[0])
    raise InputError("no prompt has a rude wrong answer beside a polite right one; expected another seed")


def _features(prompt: str, answer: str, names: Sequence[str]) -> list[float]:
    right, counts = names_right_country(prompt + answer), Counter(_words(answer))
    return [float(right is True), float(right is False), *(float(counts[name]) for name in names[2:])]


def _words(text: str) -> list[str]:
    """The words of a text in lower case, without the names of places."""
    return [word.lower() for word in re.findall(r"\b[A-Z]?[a-z]+\b", text) if word not in _PLACES]


_PLACES = {word for pair in COUNTRY_OF.items() for name in pair for word in name.split()}
