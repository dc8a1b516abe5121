"""The exercises of notebook 10."""

import math

import torch
from torch import Tensor

from dpo_notes.experiments.sick_runs import ELSEWHERE, HEALTHY, HIGH, READ_OFTEN, RUNS, SWAPPED
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.teaching.checking import Exercise, Mistake

PEAK_AT, STEPS = 19, 188  # the schedule of 10.2
MICROBATCHES = (
    [torch.tensor([0.9, 0.7, 0.5, 0.8], dtype=torch.float64), torch.tensor([0.2], dtype=torch.float64)],
    [torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([3.0, 4.0, 8.0], dtype=torch.float64)],
)
GRADIENTS = (
    ([torch.tensor([3.0, -1.0]), torch.tensor([[2.0], [4.0]])], 1.0),
    ([torch.tensor([0.3, -0.1]), torch.tensor([[0.2], [0.1]])], 1.0),
)
THETA = torch.tensor([0.4, -0.3, 0.9, 0.0], dtype=torch.float64)
REF_LOG_PROBS = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64).log()
STEP_CASES = (
    (THETA, REF_LOG_PROBS, torch.tensor([0, 2, 2]), torch.tensor([1, 3, 0]), 0.5, 2.0),
    (THETA.flip(0), REF_LOG_PROBS, torch.tensor([1, 0]), torch.tensor([3, 3]), 2.0, 0.1),
)


def step_shares() -> list[float]:
    """The learning rate at steps 10 and 100, as shares of its peak."""
    return [10 / PEAK_AT, (STEPS - 100 + 1) / (STEPS - PEAK_AT)]


def whole_mean(microbatches: list[Tensor]) -> Tensor:
    """The mean loss over all pairs of a step, whose losses come in microbatches."""
    return sum(losses.sum() for losses in microbatches) / sum(len(losses) for losses in microbatches)


def clipped(gradients: list[Tensor], limit: float) -> list[Tensor]:
    """The gradients, all shrunk by one factor where their common norm is above the limit."""
    factor = min(1.0, limit / total_norm(gradients))
    return [gradient * factor for gradient in gradients]


def total_norm(gradients: list[Tensor]) -> float:
    """The L2 norm of all gradients as one vector."""
    return sum(gradient.square().sum().item() for gradient in gradients) ** 0.5


def training_step(
    theta: Tensor, ref_log_probs: Tensor, chosen: Tensor, rejected: Tensor, beta: float, learning_rate: float
) -> Tensor:
    """The logits of a softmax policy after one step of plain gradient descent on the mean DPO loss."""
    return theta - learning_rate * _gradient(theta, ref_log_probs, chosen, rejected, beta)


def _gradient(
    theta: Tensor, ref_log_probs: Tensor, chosen: Tensor, rejected: Tensor, beta: float, *, reduce=torch.mean
) -> Tensor:
    theta = theta.clone().requires_grad_()
    logratios = theta.log_softmax(0) - ref_log_probs
    return torch.autograd.grad(reduce(dpo_loss(logratios[chosen], logratios[rejected], beta=beta)), theta)[0]


def _named(**letters: str) -> list[str]:
    """The right list of faults but for these letters."""
    return list((RUNS | letters).values())


EXERCISES = (
    Exercise(
        number="10.1",
        expected=282,
        mistakes=(
            Mistake(94, "this is one epoch; there are three"),
            Mistake(1125, "this takes a step after every forward pass of one process: 8 pairs. A step gathers the pairs "
                    "of all its forward passes, of all processes"),
            Mistake(564, "the pairs of one process only: each of the two has its own 16 in every step"),
            Mistake(563, "the pairs of one process only: each of the two has its own 16 in every step; and the last step "
                    "of an epoch is a smaller one, not a part of one"),
            Mistake(281, "an epoch is 93.75 steps: its last step is a smaller one. Round up before you multiply"),
            Mistake(279, "an epoch is 93.75 steps, and what is left after 93 is not thrown away: it makes a smaller one"),
        ),
    ),
    Exercise(
        number="10.2",
        expected=step_shares,
        tolerance=5e-4,
        mistakes=(
            Mistake([10 / PEAK_AT, (STEPS - 100) / (STEPS - PEAK_AT)], "the second is one step too late: at step 20 the "
                    "rate still has its peak, and at the last step a little of it is left"),
            Mistake([9 / PEAK_AT, 89 / 169], "steps are counted from 1: at step 19 the peak is reached"),
            Mistake([10 / PEAK_AT, 89 / STEPS], "the way down begins after the warm-up: it has 169 steps, not 188"),
            Mistake([10 / 188, 89 / 169], "the warm-up is a tenth of the steps, and the peak is reached at its end"),
            Mistake([10 / PEAK_AT, 0.5 * (1 + math.cos(math.pi * 81 / 169))], "this is half a cosine; here the rate falls "
                    "in a line"),
        ),
    ),
    Exercise(
        number="10.3",
        expected=whole_mean,
        cases=tuple((microbatches,) for microbatches in MICROBATCHES),
        mistakes=(
            Mistake(lambda microbatches: sum(losses.mean() for losses in microbatches) / len(microbatches), "this is the "
                    "mean of the means: a pair in a small microbatch counts for more than one in a large microbatch"),
            Mistake(lambda microbatches: sum(losses.sum() for losses in microbatches), "this is the sum over pairs: the "
                    "gradient would grow with the batch"),
            Mistake(lambda microbatches: sum(losses.mean() for losses in microbatches), "these are means added up: the "
                    "gradient would grow with the number of microbatches"),
            Mistake(lambda microbatches: microbatches[-1].mean(), "this is the last microbatch alone"),
        ),
    ),
    Exercise(
        number="10.4",
        expected=clipped,
        cases=GRADIENTS,
        mistakes=(
            Mistake(lambda gradients, limit: [g * min(1.0, limit / g.norm().item()) for g in gradients], "each tensor was "
                    "measured by itself; the norm is that of all of them as one vector, or the direction changes"),
            Mistake(lambda gradients, limit: [g * limit / total_norm(gradients) for g in gradients], "a gradient below the "
                    "limit stays as it is; this stretches it"),
            Mistake(lambda gradients, limit: [g.clamp(-limit, limit) for g in gradients], "this cuts each number by "
                    "itself, which changes the direction; shrink all by one factor"),
            Mistake(lambda gradients, limit: [g * min(1.0, limit / total_norm(gradients) ** 2) for g in gradients], "the "
                    "root is missing: the norm is the square root of the sum of squares"),
        ),
    ),
    Exercise(
        number="10.5",
        expected=math.log1p(math.exp(-0.5)),
        tolerance=6e-4,
        mistakes=(
            Mistake(math.log(2), "that is the loss at margin 0"),
            Mistake(math.log1p(math.exp(0.5)), "the sign of the margin: this is the loss of the opposite order"),
            Mistake(1 / (1 + math.exp(-0.5)), "this is the probability of the right order; the loss is minus its logarithm"),
            Mistake(math.log1p(math.exp(-0.05)), "the margin already holds beta"),
            Mistake(0.0, "so small it could be if the mean margin were without end; it is 0.5"),
        ),
    ),
    Exercise(
        number="10.6",
        expected=list(RUNS.values()),
        mistakes=(
            Mistake(_named(C=ELSEWHERE, D=HEALTHY), "two are exchanged, C and D. Look at the very first loss: a policy "
                    "that is its own reference cannot know anything yet"),
            Mistake(_named(A=SWAPPED, E=READ_OFTEN), "two are exchanged, A and E. In both the held-out loss ends above log "
                    "2; but in which of them do held-out pairs come out the wrong way round more often than not?"),
            Mistake(_named(A=HIGH, B=READ_OFTEN), "two are exchanged, A and B. In one of them the training loss falls "
                    "smoothly, and only the held-out loss rises"),
            Mistake(_named(A=HEALTHY, C=READ_OFTEN), "two are exchanged, A and C. The lower training loss is the worse "
                    "sign here: compare it with the held-out one"),
        ),
    ),
    Exercise(
        number="10.7",
        expected=training_step,
        cases=STEP_CASES,
        mistakes=(
            Mistake(lambda theta, ref, chosen, rejected, beta, rate: training_step(theta, ref, chosen, rejected, beta, -rate),
                    "this climbs the loss: the sign of the step is turned"),
            Mistake(lambda theta, ref, chosen, rejected, beta, rate: training_step(theta, ref, rejected, chosen, beta, rate),
                    "chosen and rejected are exchanged"),
            Mistake(lambda theta, ref, chosen, rejected, beta, rate: theta
                    - rate * _gradient(theta, ref, chosen, rejected, beta, reduce=torch.sum),
                    "this is the sum over the pairs; the loss of a batch is the mean"),
            Mistake(lambda theta, ref, chosen, rejected, beta, rate: training_step(theta, ref, chosen, rejected, 1.0, rate),
                    "beta is missing, in the log-ratios or before them"),
            Mistake(lambda theta, ref, chosen, rejected, beta, rate: training_step(
                    theta, torch.zeros_like(ref), chosen, rejected, beta, rate),
                    "the reference is missing: the loss compares log-ratios"),
            Mistake(lambda theta, ref, chosen, rejected, beta, rate: theta.clone(),
                    "nothing has moved: perhaps the reference moved along, or the step was not taken"),
        ),
    ),
)  # fmt: skip
