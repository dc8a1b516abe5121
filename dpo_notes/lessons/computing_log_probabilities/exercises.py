"""The exercises of notebook 09."""

import math

import torch
from torch import Tensor

from dpo_notes.lessons.computing_log_probabilities.zoo.exercises import ZOO_EXERCISES
from dpo_notes.maths.logps import sequence_logps, token_logps
from dpo_notes.teaching.checking import Exercise, Mistake
from dpo_notes.worlds.finite.per_token import optimum_on_means
from dpo_notes.worlds.finite.world import FiniteWorld

IGNORED = -100  # the label of a token that is not scored


def from_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """The summed log-probability of each row's labelled tokens."""
    return sequence_logps(token_logps(logits, labels.clamp(min=0)), labels != IGNORED)


def _at(logits: Tensor, labels: Tensor) -> Tensor:
    """log-softmax at the labels' ids, without a shift; ignored labels count as id 0."""
    return logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None]).squeeze(-1)


def _unshifted(logits: Tensor, labels: Tensor) -> Tensor:
    return (_at(logits, labels) * (labels != IGNORED)).sum(dim=1)


def _wrong_way(logits: Tensor, labels: Tensor) -> Tensor:
    return _unshifted(logits[:, 1:], labels[:, :-1])


def _ignored_scored(logits: Tensor, labels: Tensor) -> Tensor:
    return token_logps(logits, labels.clamp(min=0)).sum(dim=1)


def _mean(logits: Tensor, labels: Tensor) -> Tensor:
    return from_labels(logits, labels) / (labels != IGNORED).sum(dim=1)


def _over_batch(logits: Tensor, labels: Tensor) -> Tensor:
    return from_labels(logits, labels).sum()


def _case() -> tuple[Tensor, Tensor]:
    logits = 2 * torch.randn(2, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[-100, -100, 3, 5, 1, -100], [-100, 2, 6, 4, -100, -100]])
    return logits, labels


def _second_of_two() -> float:
    world = FiniteWorld(torch.tensor([0.0, math.log(3)], dtype=torch.float64), torch.full((2,), 0.5).double().log())
    return optimum_on_means(world, torch.tensor([2.0, 6.0], dtype=torch.float64), beta=1.0)[1].exp().item()


EXERCISES = (
    Exercise(
        number="09.1",
        expected=-1.4271,
        tolerance=0.002,
        mistakes=(
            Mistake(-5.8091, "no shift: each token is scored by the row that has already read it"),
            Mistake(-1.5606, "the mask slipped by one: this sums b, b, a; the response is b, a, end"),
            Mistake(-1.204, "the end of text is missing: it is a token of the response"),
            Mistake(-1.7838, "a token of the prompt is in the sum; the prompt is given, not scored"),
            Mistake(-0.4757, "this is the mean over the tokens; the sum is needed"),
            Mistake(0.24, "this is the probability itself; now its logarithm"),
            Mistake(1.4271, "the sign is turned: a log-probability is at most 0"),
        ),
    ),
    Exercise(
        number="09.2",
        expected=-4.8,
        tolerance=0.001,
        mistakes=(
            Mistake(-2.4, "this takes 0.50 for the mean of the two rows' losses; it is the mean over all 16 tokens"),
            Mistake(-0.4, "this is the mean over the rejected tokens; the sum is asked for"),
            Mistake(-8.0, "this is both responses together"),
            Mistake(-6.0, "the loss of the batch is not the loss of the rejected row"),
            Mistake(4.8, "the sign is turned: the loss is minus a log-probability"),
        ),
    ),
    Exercise(
        number="09.3",
        expected=from_labels,
        cases=(_case(),),
        mistakes=(
            Mistake(_unshifted, "no shift: the logits at position t predict the label at t + 1"),
            Mistake(_wrong_way, "shifted the wrong way: drop the last logits and the first label"),
            Mistake(_ignored_scored, "the positions with label -100 are in the sum, as if they asked for token 0"),
            Mistake(_mean, "this is the mean over the tokens; the sum is needed"),
            Mistake(_over_batch, "this is one number for the whole batch; one for each row is needed"),
            Mistake(lambda logits, labels: -from_labels(logits, labels), "the sign is turned: this is the loss"),
        ),
    ),
    Exercise(
        number="09.4",
        expected=[[0, 1, 2, 3, 4, 3, 4, 5, 6], [2, 3, 2, 5, 6, 7]],
        mistakes=(
            Mistake([[0, 1, 2, 3, 4, 5, 6, 7, 8], [2, 3, 2, 5, 6, 7]], "the positions go on counting: the rejected response "
                    "would believe that the chosen one stands between it and the prompt"),
            Mistake([[0, 1, 2, 3, 4, 0, 1, 2, 3], [2, 3, 2, 5, 6, 7]], "the rejected response starts at 0; it comes after the "
                    "prompt, as the chosen one does"),
            Mistake([[0, 1, 2, 3, 4, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]], "the first rejected token is predicted by the end of the "
                    "chosen response; it follows the prompt"),
            Mistake([[0, 1, 2, 3, 4, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8]], "these are the columns of the tokens themselves; each is "
                    "predicted by the one before it"),
            Mistake([[0, 1, 2, 3, 4, 3, 4, 5, 6], [2, 3, 2, 3, 4, 5]], "these are positions; columns of the one row are asked for"),
        ),
    ),
    Exercise(
        number="09.5",
        expected=_second_of_two,
        tolerance=0.001,
        mistakes=(
            Mistake(0.75, "this is where DPO on sums ends, the optimum of the KL-constrained objective"),
            Mistake(729 / 730, "the constant c was left out. It cannot be chosen: the two probabilities must sum to 1, and c is "
                    "multiplied by the length"),
            Mistake(lambda: 1 - _second_of_two(), "this is the first response"),
            Mistake(3 ** (1 / 6) / (1 + 3 ** (1 / 6)), "the reward was divided by the length; a mean is the sum over n, so the "
                    "sum is n times as large"),
        ),
    ),
    *ZOO_EXERCISES,
)  # fmt: skip
