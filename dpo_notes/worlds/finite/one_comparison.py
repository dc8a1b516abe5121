"""One comparison of two responses: how DPO moves a softmax policy, step by step, for many betas at once.

The reference is uniform and the policy is a softmax over two logits, so its log-ratio margin is the difference of the
logits. A share `probability` of the raters prefers the first response, the others prefer the second.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.maths.errors import InputError


def margin_paths(
    betas: Float[Tensor, " betas"],
    *,
    make_optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    steps: int,
    probability: float = 1.0,
) -> Float[Tensor, "points betas"]:
    """The log-ratio margin (nats) before and after each step of an optimizer on the mean DPO loss, for each beta.

    margin = log(pi(1)/pi_ref(1)) - log(pi(2)/pi_ref(2)) = logit 1 - logit 2
    loss = p * (-log sigma(beta * margin)) + (1 - p) * (-log sigma(-beta * margin))
    d loss / d logit 1 = beta * (sigma(beta * margin) - p), and minus that for logit 2

    betas: each above 0, with two logits of its own. make_optimizer: takes a list of parameters and returns an optimizer
    that updates each number separately, such as `lambda p: torch.optim.SGD(p, lr=0.5)`. steps: 0 or more. probability:
    p, from 0 to 1. Errors: InputError for a beta or probability outside its range.
    Known value: 0 at the start; learning rate * beta after one plain step with p = 1.
    """
    _check(betas, probability)
    logits = torch.zeros(2, len(betas), dtype=betas.dtype)
    optimizer = make_optimizer([logits])
    points = [logits[0] - logits[1]]
    for _ in range(steps):
        rewards = betas * logits
        pull = betas * (preference_probability(rewards[0], rewards[1]) - probability)
        logits.grad = torch.stack([pull, -pull])
        optimizer.step()
        points.append(logits[0] - logits[1])
    return torch.stack(points)


def resting_margin(betas: Float[Tensor, " betas"], *, probability: float) -> Float[Tensor, " betas"]:
    """The log-ratio margin (nats) with the lowest mean loss, for each beta.

    margin = logit(p) / beta, where sigma(beta * margin) = p: there, the policy's implicit rewards predict the raters.

    Arguments and errors as in `margin_paths`.
    Known value: 0 for p = 1/2; infinite for p = 1, where a larger margin is always better.
    """
    _check(betas, probability)
    return torch.tensor(probability, dtype=betas.dtype).logit() / betas


def _check(betas: Tensor, probability: float) -> None:
    if not (betas > 0).all():
        raise InputError(f"betas is {betas.tolist()}; expected numbers above 0")
    if not 0 <= probability <= 1:
        raise InputError(f"probability is {probability!r}; expected a number from 0 to 1")
