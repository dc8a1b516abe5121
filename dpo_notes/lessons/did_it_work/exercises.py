"""The exercises of notebook 11."""

import math

import torch
from torch import Tensor

from dpo_notes.maths.best_of_n import best_of_n_kl_bound
from dpo_notes.teaching.checking import Exercise, Mistake

NINE_OF_TEN = [0.5958, 0.9821]  # Wilson's interval, by the quadratic of the hint
POOLS = (
    (torch.tensor([1.0, 0.5, -0.5, 2.0, 0.0], dtype=torch.float64), 1.0),
    (torch.tensor([0.25, 0.25, 1.5, -1.0], dtype=torch.float64), 0.4),
)


def _coins(first: float, second: float) -> float:
    """KL(first || second) of two coins, in nats; `first` may be sure of itself."""
    parts = ((first, second), (1 - first, 1 - second))
    return sum(p * math.log(p / q) for p, q in parts if p > 0)


def pass_or_fail(p: float, n: int) -> float:
    """KL of best-of-n where an answer passes with probability p: that of two coins."""
    return _coins(1 - (1 - p) ** n, p)


def upper_point(rewards: Tensor, beta: float) -> Tensor:
    """[reward, KL] of the optimal policy, estimated from samples of the reference."""
    weights = (rewards / beta).softmax(0)
    return torch.stack([weights @ rewards, weights @ (len(rewards) * weights).log()])


def _turned_kl(rewards: Tensor, beta: float) -> Tensor:
    weights = (rewards / beta).softmax(0)
    return torch.stack([weights @ rewards, -(len(rewards) * weights).log().mean()])


def _log_z(rewards: Tensor, beta: float) -> Tensor:
    return torch.logsumexp(rewards / beta, 0) - math.log(len(rewards))


EXERCISES = (
    Exercise(
        number="11.1",
        expected=NINE_OF_TEN,
        tolerance=6e-4,
        mistakes=(
            Mistake([0.714, 1.086], "this is the normal interval, and it reaches beyond 1; take the error that p itself would "
                    "have"),
            Mistake([0.714, 1.0], "this is the normal interval, cut off at 1; take the error that p itself would have"),
            Mistake(NINE_OF_TEN[::-1], "the low end comes first"),
            Mistake([0.7662, 0.9611], "this took 1 standard error; 95% needs z = 1.96"),
        ),
    ),
    Exercise(
        number="11.2",
        expected=[best_of_n_kl_bound(32), 32 / 33],
        tolerance=2e-4,
        mistakes=(
            Mistake([math.log(32), 32 / 33], "log n is too far: taking the best of n is less than picking one answer in n "
                    "for certain; (n − 1)/n is missing"),
            Mistake([math.log2(32) - 31 / 32, 32 / 33], "these are bits; nats need the natural logarithm"),
            Mistake([best_of_n_kl_bound(32), 31 / 32], "31/32 is the chance to beat one of its own 32; one *more* answer makes "
                    "33 in the line"),
            Mistake([math.log(32) + 31 / 32, 32 / 33], "the second term is taken away, not added"),
        ),
    ),
    Exercise(
        number="11.3",
        expected=[0.72, 0.57],
        tolerance=1e-4,
        mistakes=(
            Mistake([0.705, 0.57], "with 20 prompts this is the *normal* interval's answer; Wilson's still holds 0.5 there"),
            Mistake([0.715, 0.565], "both are one notch too low: the low ends are still below 0.5"),
            Mistake([0.57, 0.72], "the two are in the wrong order: fewer prompts need a higher rate"),
            Mistake([0.28, 0.43], "here the interval lies *below* 0.5"),
        ),
    ),
    Exercise(
        number="11.4",
        expected=[0.25, 0.113],
        tolerance=2e-3,
        mistakes=(
            Mistake([0.1, 0.2485], "PPO at 0.1 stands at 1.15 nats, four tenths of a nat further; another run is nearer"),
            Mistake([0.5, 0.0155], "PPO at 0.5 stands at 0.50 nats, a quarter of a nat nearer to the base model; another run is "
                    "closer"),
            Mistake([0.25, -0.113], "PPO's reward is the higher one: a positive difference"),
            Mistake([0.25, 0.078], "this is the difference in KL; the one in reward is asked for"),
        ),
    ),
    Exercise(
        number="11.5",
        expected=pass_or_fail,
        cases=((0.3, 1), (0.3, 4), (0.05, 16), (0.8, 2)),
        mistakes=(
            Mistake(lambda p, n: best_of_n_kl_bound(n), "this is the bound, for rewards that never tie; here half of all pairs "
                    "or more do"),
            Mistake(lambda p, n: (1 - (1 - p) ** n) * math.log((1 - (1 - p) ** n) / p), "the answers that fail count as well: "
                    "they became rarer, and their term is negative"),
            Mistake(lambda p, n: _coins(p, 1 - (1 - p) ** n), "this is KL(reference || best-of-n); the policy stands first"),
            Mistake(lambda p, n: _coins(p**n, p), "p^n is the chance that *all* n pass; one is enough"),
            Mistake(lambda p, n: -math.log(p), "this is the limit of endless n; with n draws all may fail"),
        ),
    ),
    Exercise(
        number="11.6",
        expected=upper_point,
        cases=POOLS,
        mistakes=(
            Mistake(lambda rewards, beta: upper_point(rewards, 1 / beta) if beta != 1 else upper_point(rewards, 2.0),
                    "beta divides the reward; it does not multiply it"),
            Mistake(_turned_kl, "the KL is turned round: it is a mean under the weights, not under equal ones"),
            Mistake(lambda rewards, beta: torch.stack([beta * _log_z(rewards, beta), upper_point(rewards, beta)[1]]),
                    "this is beta log Z, reward *minus* the price of the KL; the reward alone is asked for"),
            Mistake(lambda rewards, beta: torch.stack([upper_point(rewards, beta)[0],
                    upper_point(rewards, beta)[1] - math.log(len(rewards))]), "this is minus the entropy of the weights; the m "
                    "inside the logarithm is missing"),
            Mistake(lambda rewards, beta: upper_point(rewards, beta).flip(0), "the reward comes first, then the KL"),
        ),
    ),
    Exercise(
        number="11.7",
        expected=[math.log(8 / 5), 0.0, 0.4 * math.log(4)],
        tolerance=2e-3,
        mistakes=(
            Mistake([math.log(8 / 5), 0.4 * math.log(4), 0.0], "the two deviations are exchanged: k1 is the one that is the "
                    "same for both answers"),
            Mistake([math.log(8 / 5), 0.0, 0.16 * math.log(4) ** 2], "the last number is a variance; take its root"),
            Mistake([math.log(8 / 5), 0.0, 0.5 * math.log(4)], "the policy does not begin with a as often as with b: it keeps "
                    "every a, and only a quarter of the b"),
            Mistake([-math.log(8 / 5), 0.0, 0.4 * math.log(4)], "a KL is never negative: log P(A) with the other sign"),
            Mistake([math.log2(8 / 5), 0.0, 0.4 * math.log2(4)], "these are bits; nats are asked for"),
        ),
    ),
)  # fmt: skip
