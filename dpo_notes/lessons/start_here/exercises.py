"""The exercises of notebook 00: a self-test of what the series builds on."""

import math

import torch

from dpo_notes.maths.bradley_terry import preference_nll, preference_probability
from dpo_notes.maths.optimum import kl_divergence, optimal_policy
from dpo_notes.teaching.checking import Exercise, Mistake, doubles

TOKENS = (0.5, 0.2)  # of 00.1
AHEAD = math.log(3)  # of 00.2: by how much the chosen response's reward is the higher
P, Q = doubles(0.5, 0.5), doubles(0.25, 0.75)  # of 00.3
SCORES = ((doubles(0.0, 1.0, 2.0),), (doubles(-3.0, 5.0),), (doubles(1.0, 1.0, 1.0, 1.0),))  # of 00.4
REWARDS, BETA = doubles(0.0, 1.0), 0.5  # of 00.6


def _slope_of_nll() -> float:
    margin = torch.zeros((), dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(preference_nll(margin, torch.zeros_like(margin)), margin)[0].item()


def _second_of_two(rewards: torch.Tensor, beta: float) -> float:
    return optimal_policy(rewards, doubles(0.5, 0.5).log(), beta=beta)[1].exp().item()


EXERCISES = (
    Exercise(
        number="00.1",
        expected=math.log(math.prod(TOKENS)),
        mistakes=(
            Mistake(math.prod(TOKENS), "this is the probability of the response; take its natural logarithm"),
            Mistake(math.log10(math.prod(TOKENS)), "this is the logarithm to base 10; nats are natural logarithms"),
            Mistake(math.log(math.prod(TOKENS)) / 2, "this is the mean over the tokens; the sum is needed"),
            Mistake(math.log(sum(TOKENS)), "probabilities of tokens that follow each other are multiplied, not added"),
        ),
        tolerance=1e-3,
    ),
    Exercise(
        number="00.2",
        expected=preference_probability(doubles(AHEAD), doubles(0.0)).item(),
        mistakes=(
            Mistake(
                preference_probability(doubles(0.0), doubles(AHEAD)).item(),
                "this is how often the other response is preferred; the sign of the difference is turned round",
            ),
            Mistake(3.0, "these are the odds, 3 to 1; a probability is odds / (1 + odds)"),
            Mistake(torch.sigmoid(doubles(3.0)).item(), "this is sigma(3); the rewards differ by log 3"),
        ),
        tolerance=1e-3,
    ),
    Exercise(
        number="00.3",
        expected=kl_divergence(P.log(), Q.log()).item(),
        mistakes=(
            Mistake(
                kl_divergence(Q.log(), P.log()).item(), "this is KL(q || p); the order matters: the weights are p's"
            ),
            Mistake(
                kl_divergence(P.log(), Q.log()).item() / math.log(2), "this is in bits; nats have the natural logarithm"
            ),
            Mistake(-kl_divergence(P.log(), Q.log()).item(), "a KL is never negative: the ratio is p / q, not q / p"),
        ),
        tolerance=1e-3,
    ),
    Exercise(
        number="00.4",
        expected=lambda scores: scores.softmax(dim=0),
        cases=SCORES,
        mistakes=(
            Mistake(lambda scores: scores.exp(), "these do not sum to 1: divide by their sum"),
            Mistake(
                lambda scores: scores / scores.sum(), "scores may be negative: take e to the power of each one first"
            ),
            Mistake(lambda scores: scores.log_softmax(dim=0), "these are logarithms of the probabilities"),
        ),
    ),
    Exercise(
        number="00.5",
        expected=_slope_of_nll(),
        mistakes=(
            Mistake(-_slope_of_nll(), "the sign: a larger margin makes the loss smaller"),
            Mistake(math.log(2), "this is the loss at margin 0; its slope is asked for"),
            Mistake(
                0.25, "this is the slope of sigma itself; the loss is -log sigma, so divide by sigma and mind the sign"
            ),
        ),
        tolerance=1e-3,
    ),
    Exercise(
        number="00.6",
        expected=_second_of_two(REWARDS, BETA),
        mistakes=(
            Mistake(_second_of_two(REWARDS, 1 / BETA), "the reward is divided by beta, not multiplied by it"),
            Mistake(_second_of_two(REWARDS, 1.0), "beta is missing: this is the answer for beta 1"),
            Mistake(0.5 * math.exp(1 / BETA), "this is no probability yet: divide by Z, the sum over both responses"),
        ),
        tolerance=1e-3,
    ),
)
