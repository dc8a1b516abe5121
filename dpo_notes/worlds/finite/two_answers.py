"""The smallest world with a preference in it: one prompt, and two answers that the reference finds equally likely.

A policy is one number here, the margin m = log(pi(A) / pi(B)), nats: the log-ratio of A minus that of B. So any paired
loss is a curve over m, and its minimum shows where it leads when A is preferred to B with a given probability.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.errors import InputError

FARTHEST = 30.0  # largest beta * margin in the search for a minimum; beyond it 1 - sigma loses its digits
UNDERFLOW = 1e-100  # of the largest push: a smaller one that ends has only become too small for float64
COARSE, FINE, ZOOMS = 4001, 65, 6  # points of the first grid and of the later ones; how many of these

PairLoss = Callable[..., Tensor]


def answer_logratios(margins: Float[Tensor, " points"]) -> tuple[Float[Tensor, " points"], Float[Tensor, " points"]]:
    """(log-ratio of A, log-ratio of B) of the policies with these margins, in nats.

    pi(A) = sigma(m), pi_ref(A) = 1/2, so h_A = log(2 sigma(m)) and h_B = log(2 sigma(-m)); h_A - h_B = m.
    Known value: (0, 0) at the reference, m = 0; A can gain at most log 2, B can lose without limit.
    """
    return math.log(2) + logsigmoid(margins), math.log(2) + logsigmoid(-margins)


def expected_loss(
    loss_fn: PairLoss, margins: Float[Tensor, " points"], *, beta: float, preference: float
) -> Float[Tensor, " points"]:
    """The expected loss over comparisons of A and B, at each margin, in the unit of the loss.

    p * loss(A chosen, B rejected) + (1 - p) * loss(B chosen, A rejected)

    loss_fn: of log-ratios, one value per pair. preference: p, the probability that A is preferred, from 0 to 1.
    Errors: InputError for another preference; those of loss_fn. Known value: log 2 for DPO at margin 0.
    """
    if not 0 <= preference <= 1:
        raise InputError(f"preference is {preference!r}; expected a probability, from 0 to 1")
    first, second = answer_logratios(margins)
    return preference * loss_fn(first, second, beta=beta) + (1 - preference) * loss_fn(second, first, beta=beta)


def expected_push(
    loss_fn: PairLoss, margins: Float[Tensor, " points"], *, beta: float, preference: float
) -> Float[Tensor, " points"]:
    """How hard gradient descent pushes the margin up, at each margin: minus the slope of `expected_loss`.

    Arguments and errors as in `expected_loss`. Known value: beta * (p - sigma(beta * m)) for DPO.
    """
    points = margins.detach().clone().requires_grad_()
    total = expected_loss(loss_fn, points, beta=beta, preference=preference).sum()
    return -torch.autograd.grad(total, points)[0]


def leading_margin(loss_fn: PairLoss, *, beta: float, preference: float) -> float:
    """The margin (nats) with the lowest `expected_loss`, where unlimited data and training would lead a policy.

    It is found from the sign of the push alone, on ever finer grids, so kinks do no harm. If several margins have the
    lowest loss, it is the lowest of them; inf (or -inf) if the loss still falls at the margin FARTHEST / beta. Float64.

    beta: of the loss, above 0. preference: from 0 to 1. Errors: InputError for either outside its range.
    Known value: logit(p) / beta for DPO.
    """
    check_positive("beta", beta)

    def turns(points: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The neighbours between which the push changes from up to zero or down, so that a minimum lies there."""
        push = expected_push(loss_fn, points, beta=beta, preference=preference)
        left = ((push[:-1] > UNDERFLOW * push.abs().max()) & (push[1:] <= 0)).nonzero().flatten().tolist()
        return [(points[at], points[at + 1]) for at in left]

    far = FARTHEST / beta
    found = []
    for low, high in turns(torch.linspace(-far, far, COARSE, dtype=torch.float64)):
        for _ in range(ZOOMS):
            grid = torch.linspace(low.item(), high.item(), FINE, dtype=torch.float64)
            low, high = next(iter(turns(grid)), (low, high))
        found.append(high.item())
    found += [-far, far]
    losses = expected_loss(loss_fn, torch.tensor(found, dtype=torch.float64), beta=beta, preference=preference)
    best = found[int(losses.argmin())]  # the first of equal ones
    return best if abs(best) < far else math.copysign(math.inf, best)
