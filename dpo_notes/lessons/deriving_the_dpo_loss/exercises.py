"""The exercises of notebook 08."""

import math

import torch

from dpo_notes.maths.losses import dpo_gradient_weight, dpo_loss
from dpo_notes.maths.optimum import log_partition
from dpo_notes.teaching.checking import Exercise, Mistake, doubles


def _loss(chosen: float, rejected: float, beta: float) -> float:
    return dpo_loss(doubles(chosen), doubles(rejected), beta=beta).item()


def _weight(chosen: float, rejected: float, beta: float) -> float:
    return dpo_gradient_weight(doubles(chosen), doubles(rejected), beta=beta).item()


def all_slopes(features: torch.Tensor, chosen: int, rejected: int, probs: torch.Tensor) -> torch.Tensor:
    """How the log-probability of each response changes along phi_w - phi_l."""
    return (features - probs @ features) @ (features[chosen] - features[rejected])


def ranking_loss(logratios: torch.Tensor, beta: float) -> torch.Tensor:
    """DPO's loss of a ranking, best first (Plackett and Luce; the DPO paper, appendix A.3), in nats."""
    rewards = beta * logratios
    return sum(torch.logsumexp(rewards[k:], dim=0) - rewards[k] for k in range(len(rewards)))


def _pairwise(logratios: torch.Tensor, beta: float) -> torch.Tensor:
    first, second = torch.triu_indices(len(logratios), len(logratios), offset=1)
    return dpo_loss(logratios[first], logratios[second], beta=beta).sum()


def _neighbours(logratios: torch.Tensor, beta: float) -> torch.Tensor:
    return dpo_loss(logratios[:-1], logratios[1:], beta=beta).sum()


def _never_taken_out(logratios: torch.Tensor, beta: float) -> torch.Tensor:
    return -(beta * logratios).log_softmax(dim=0).sum()


REWARDS, HALF = doubles(0.5 * math.log(3), 0.0), doubles(0.5, 0.5).log()  # of 08.2
FEATURES = torch.tensor([[0.1, 0.2], [-0.5, 0.1], [0.0, -0.5], [1.5, 0.6]], dtype=torch.float64)  # of 08.7
PROBS = (doubles(0.4, 0.3, 0.2, 0.1), doubles(0.1, 0.2, 0.3, 0.4))
RANKINGS = ((doubles(2.0, -1.0, 0.5), 0.5), (doubles(0.0, 1.0, -2.0, 3.0), 0.1))  # of 08.8

EXERCISES = (
    Exercise(
        number="08.1",
        expected=_loss(3, -2, 0.1),
        tolerance=1e-3,
        mistakes=(
            Mistake(_loss(-42, -50, 0.1), "the reference is missing: a log-ratio is policy minus reference"),
            Mistake(_loss(3, -2, 1.0), "beta is missing"),
            Mistake(_loss(-2, 3, 0.1), "the margin is turned round: chosen minus rejected"),
            Mistake(_loss(3, 2, 0.1), "the rejected log-ratio is negative, -50 - (-48) = -2: subtracting it adds to the "
                    "margin"),
            Mistake(0.5, "this is the margin; the loss is -log sigma of it"),
            Mistake(-_loss(3, -2, 0.1), "this is the log-probability of the choice; the loss is minus that"),
        ),
    ),
    Exercise(
        number="08.2",
        expected=REWARDS - 0.5 * log_partition(REWARDS, HALF, beta=0.5),
        tolerance=1e-3,
        mistakes=(
            Mistake(REWARDS - REWARDS.mean(), "this is the member with mean 0; DPO's is the one whose partition function "
                    "is 1"),
            Mistake(REWARDS - log_partition(REWARDS, HALF, beta=0.5), "log Z was subtracted; it has to be multiplied by "
                    "beta first"),
            Mistake(REWARDS + 0.5 * log_partition(REWARDS, HALF, beta=0.5), "beta log Z is subtracted, not added"),
            Mistake((REWARDS / 0.5).log_softmax(0), "this is log pi*; take the ratio with the reference, and beta times it"),
            Mistake((REWARDS / 0.5).log_softmax(0) - HALF, "this is the log-ratio; the implicit reward is beta times it"),
            Mistake(REWARDS, "this is a member of the class, but its partition function is 2, not 1"),
        ),
    ),
    Exercise(
        number="08.3",
        expected=[0.25, 1.5 / 3.3],
        tolerance=1e-3,
        mistakes=(
            Mistake([0.25, 0.25], "the second is not the first again: the two prompts have different partition functions"),
            Mistake([0.75, 1.8 / 3.3], "both are the other way round: the former is the answer to the first prompt"),
            Mistake([1.5 / 3.3, 0.25], "these are the two probabilities in the other order: first by the true rewards"),
            Mistake([0.25, 6 / 51], "beta log Z is subtracted from a reward, not added to it"),
        ),
    ),
    Exercise(
        number="08.4",
        expected=_weight(-2, 2, 0.5) / _weight(2, -2, 0.5),
        tolerance=1e-3,
        mistakes=(
            Mistake(_weight(2, -2, 0.5) / _weight(-2, 2, 0.5), "this is A over B; the pair with the wrong order pulls "
                    "harder"),
            Mistake(_weight(-2, 2, 1.0) / _weight(2, -2, 1.0), "beta is missing in the margins"),
            Mistake(1.0, "the weights would be equal only at the start, where every margin is 0"),
            Mistake(_weight(-2, 2, 0.5), "this is the weight of B alone; divide by that of A"),
        ),
    ),
    Exercise(
        number="08.5",
        expected=[9.0, 81.0],
        tolerance=1e-3,
        mistakes=(
            Mistake([9.0, 3.0], "the logit is divided by beta, not multiplied: a smaller beta goes further"),
            Mistake([9.0, 9.0], "this would be the odds of the raters at any beta; the margin is logit(p) / beta"),
            Mistake([9.0, 18.0], "the margin doubles, and with it the logarithm of the factor: the factor is squared"),
            Mistake([math.log(9), 2 * math.log(9)], "these are the log-ratio margins; the odds change by e to their power"),
            Mistake([0.9, 0.81], "odds of 9 in 10 are 9 to 1"),
        ),
    ),
    Exercise(
        number="08.6",
        expected=[1.0, 0.3],
        mistakes=(
            Mistake([0.3, 1.0], "the other way round: the longer one trains, the further left the top"),
            Mistake([0.02, 0.02], "that is Adam's dashed curve, which falls all the way; SGD's is solid"),
            Mistake([0.5, 0.5], "that is the top after 50 steps"),
            Mistake([3.0, 3.0], "after the very first step the largest beta is ahead; look again after 10"),
        ),
    ),
    Exercise(
        number="08.7",
        expected=all_slopes,
        cases=tuple((FEATURES, 0, 1, probs) for probs in PROBS),
        mistakes=(
            Mistake(lambda features, chosen, rejected, probs: features @ (features[chosen] - features[rejected]),
                    "the mean is missing: probabilities sum to 1, so what counts is how far a response lies beyond it"),
            Mistake(lambda features, chosen, rejected, probs: all_slopes(features, chosen, rejected,
                    torch.full_like(probs, 1 / len(probs))), "the mean is taken as if all responses were equally likely; "
                    "weigh them by probs"),
            Mistake(lambda features, chosen, rejected, probs: all_slopes(features, rejected, chosen, probs),
                    "the sign is turned: d leads from rejected to chosen"),
            Mistake(lambda features, chosen, rejected, probs: all_slopes(features, chosen, rejected, probs)[chosen],
                    "this is the chosen response's slope alone; a tensor with one for each response is asked for"),
        ),
    ),
    Exercise(
        number="08.8",
        expected=ranking_loss,
        cases=RANKINGS,
        mistakes=(
            Mistake(_pairwise, "this is the sum of the DPO losses of all pairs: a different model, which counts a ranking "
                    "as independent comparisons"),
            Mistake(_neighbours, "this compares neighbours only; each place is drawn from all responses that remain"),
            Mistake(_never_taken_out, "the denominators hold all responses; what has its place already can no longer be "
                    "drawn"),
            Mistake(lambda logratios, beta: ranking_loss(logratios, 1.0), "beta is missing"),
            Mistake(lambda logratios, beta: ranking_loss(logratios.flip(0), beta), "the order is turned: the best comes "
                    "first"),
            Mistake(lambda logratios, beta: -ranking_loss(logratios, beta), "the sign is turned: this is the "
                    "log-probability of the ranking"),
        ),
    ),
)  # fmt: skip
