"""The exercises of notebook 07."""

import math

import torch
from torch import Tensor

from dpo_notes.maths.optimal_frontier import beta_for_kl, optimal_point
from dpo_notes.maths.optimum import kl_divergence, optimal_policy
from dpo_notes.teaching.checking import Exercise, Mistake

WORLDS = (  # (reward, reference, budget of KL)
    (torch.tensor([0.0, 1.0], dtype=torch.float64), torch.tensor([0.5, 0.5], dtype=torch.float64).log(), 0.1),
    (
        torch.tensor([1.0, -1, 0.5, 3], dtype=torch.float64),
        torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64).log(),
        1.5,
    ),
)
TWO_LETTERS, THREE_LETTERS = (  # after each letter, how likely is each next one
    torch.tensor(rows, dtype=torch.float64).log()
    for rows in ([[0.9, 0.1], [0.5, 0.5]], [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
)
CHAINS = (  # (reward [previous next], reference [previous next], beta, length)
    (torch.tensor([[0, 1], [2, -1]], dtype=torch.float64), TWO_LETTERS, 0.5, 5),
    (torch.tensor([[0.3, 0, 1], [0, -1, 2], [1, 0, 0]], dtype=torch.float64), THREE_LETTERS, 1.0, 4),
)


def chain_log_partition(reward: Tensor, ref_log_probs: Tensor, beta: float, length: int) -> Tensor:
    """log Z of words of so many letters, begun after letter 0, where each letter earns reward[previous, letter]."""
    to_go = reward.new_zeros(len(reward))  # log Z of the letters that are still to come, by the letter before them
    for _ in range(length):
        to_go = torch.logsumexp(ref_log_probs + reward / beta + to_go, dim=1)
    return to_go[0]


def _greedy(reward: Tensor, ref_log_probs: Tensor, beta: float, length: int) -> Tensor:
    to_go = reward.new_zeros(len(reward))
    for _ in range(length):
        to_go = (ref_log_probs + reward / beta + to_go).amax(dim=1)
    return to_go[0]


def _mean_of_logs(reward: Tensor, ref_log_probs: Tensor, beta: float, length: int) -> Tensor:
    to_go = reward.new_zeros(len(reward))
    for _ in range(length):
        to_go = (ref_log_probs.exp() * (reward / beta + to_go)).sum(dim=1)
    return to_go[0]


def _other_direction(reward: Tensor, ref_log_probs: Tensor, kl: float) -> float:
    """The beta at which KL(pi_ref || pi*) is `kl`, by halving."""
    low, high = 0.01, 100.0
    for _ in range(60):
        middle = math.sqrt(low * high)
        best = optimal_policy(reward, ref_log_probs, beta=middle)
        low, high = (middle, high) if kl_divergence(ref_log_probs, best) > kl else (low, middle)
    return low


def _far_from_zero(reward: Tensor, ref_log_probs: Tensor, kl: float) -> float:
    """The beta of the approximation KL = Var / (2 beta^2)."""
    probs = ref_log_probs.exp()
    variance = probs @ (reward - probs @ reward) ** 2
    return math.sqrt(variance.item() / (2 * kl))


EXERCISES = (
    Exercise(
        number="07.1",
        expected=[0.75 * math.log(3), math.inf],
        tolerance=0.004,
        mistakes=(
            Mistake([math.inf, 0.75 * math.log(3)], "the two are exchanged: in KL(pi || pi_ref) the policy stands first, and "
                    "the average is taken over what it says"),
            Mistake([0.75 * math.log(3), 0.25 * math.log(1 / 3)], "a KL below 0 cannot be. The third answer was left out: the "
                    "reference says it in half of all cases, and the policy never"),
            Mistake([0.75 * math.log2(3), math.inf], "these are bits; a nat is measured with the natural logarithm"),
            Mistake([math.log(3), math.inf], "the log-ratio of the first answer is not weighted with its probability, 0.75"),
            Mistake([math.inf, math.inf], "where the policy never goes nothing is paid: 0 log 0 counts 0"),
        ),
    ),
    Exercise(
        number="07.2",
        expected=[0.5 / 1.9, 0.6 / 1.9, 0.8 / 1.9],
        tolerance=0.004,
        mistakes=(
            Mistake([1 / 7, 2 / 7, 4 / 7], "the reference is missing: each factor multiplies what the reference said"),
            Mistake([0.5, 0.6, 0.8], "these are the weights, which sum to Z = 1.9; divide by it"),
            Mistake([0.0934, 0.2372, 0.6693], "the reward was multiplied by beta; it is divided: a dear nat weakens it"),
            Mistake([0.1790, 0.2919, 0.5291], "beta is missing: the exponent is r / beta, not r"),
            Mistake([0.5, 0.3, 0.2], "this is the reference itself, the optimum for an infinite beta"),
        ),
    ),
    Exercise(
        number="07.3",
        expected=0.6,
        tolerance=0.004,
        mistakes=(
            Mistake(0.3, "this is J* - J, in units of reward; how many nats is that, at half a unit each?"),
            Mistake(0.15, "the gap was multiplied by beta; (07.5) says gap = beta KL, so divide"),
            Mistake(-0.6, "a KL below 0 cannot be: the gap is J* - J, not J - J*"),
            Mistake(-0.4, "J is the reward less its price: 1.4 - 0.5 * 1.0, not 1.4"),
            Mistake(0.4, "J is the reward less its price: 1.4 - 0.5 * 1.0, not 1.4; and compare J* with that"),
        ),
    ),
    Exercise(
        number="07.4",
        expected=[0.5, 1.5],
        tolerance=0.02,
        mistakes=(
            Mistake([2.0, 0.0], "this is reward over KL, the price of the average nat (and not even counted from the "
                    "reference's reward); beta is the price of the last one: differences over differences"),
            Mistake([0.5, 2.5], "the price is subtracted from the reward, not added"),
            Mistake([0.5, 2.0], "beta is right. J* is less than the reward: the nats are to be paid"),
            Mistake([2.0, 1.5], "beta is turned over: it is reward per nat"),
            Mistake([0.02, 1.98], "this is how much the reward rose; divide by how much the KL rose"),
        ),
    ),
    Exercise(
        number="07.5",
        expected=2 / math.log(15),
        tolerance=0.01,
        mistakes=(
            Mistake(1.5 / math.log(5), "there it overtakes the polite answer, the one with “I am glad to help”"),
            Mistake(math.log(15) / 2, "turned over: log 15 = 2 / beta"),
            Mistake(2 / math.log10(15), "with the natural logarithm; this was the one to base 10"),
            Mistake(0.53, "there it has half of all the probability; it becomes the likeliest answer earlier"),
        ),
    ),
    Exercise(
        number="07.6",
        expected=lambda reward, ref_log_probs, kl: beta_for_kl(reward, ref_log_probs, kl=kl),
        cases=WORLDS,
        tolerance=1e-4,
        mistakes=(
            Mistake(_far_from_zero, "this is the approximation for a small budget, KL = Var / (2 beta^2)"),
            Mistake(_other_direction, "this makes KL(pi_ref || pi) equal to the budget; the policy stands first"),
            Mistake(lambda reward, ref_log_probs, kl: 1 / beta_for_kl(reward, ref_log_probs, kl=kl), "this is 1 / beta"),
            Mistake(lambda reward, ref_log_probs, kl: optimal_point(
                reward, ref_log_probs, beta=beta_for_kl(reward, ref_log_probs, kl=kl))[0],
                "this is the reward that the budget buys; the beta is asked for"),
        ),
    ),
    Exercise(
        number="07.7",
        expected=math.sqrt(0.5),
        tolerance=0.004,
        mistakes=(
            Mistake(1 / (1 + math.exp(-1)), "this is the optimum of this notebook's objective, with the policy in front; here "
                    "the reference stands in front"),
            Mistake(1 - math.sqrt(0.5), "this is the worse answer's probability"),
            Mistake(-math.sqrt(0.5), "a probability below 0: of the two roots for lambda take the larger one"),
            Mistake(1.0, "then the other answer would have probability 0, and log(pi_ref / pi) would be infinite"),
            Mistake(0.75, "this is the first-order formula for a large beta; beta is 1, and an exact answer exists"),
        ),
    ),
    Exercise(
        number="07.8",
        expected=chain_log_partition,
        cases=CHAINS,
        mistakes=(
            Mistake(_greedy, "this follows only the best way (a maximum); Z sums over all ways: logsumexp"),
            Mistake(lambda reward, ref_log_probs, beta, length: length * torch.logsumexp(
                ref_log_probs + reward / beta, dim=1)[0], "every letter is treated as if letter 0 stood before it"),
            Mistake(lambda reward, ref_log_probs, beta, length: chain_log_partition(
                reward, torch.zeros_like(ref_log_probs), beta, length), "the reference is missing: this sums exp(r / beta) "
                "alone"),
            Mistake(_mean_of_logs, "this is the mean of r / beta, with the logarithm inside the mean; log Z is the logarithm of "
                    "a mean of exponentials, which is larger"),
            Mistake(lambda reward, ref_log_probs, beta, length: chain_log_partition(
                reward, ref_log_probs, beta, length).exp(), "this is Z; its logarithm is asked for"),
        ),
    ),
)  # fmt: skip
