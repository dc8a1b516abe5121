"""The policy gradient of a finite world: in closed form, as gradient ascent along it, and estimated from samples.

The policy is a softmax with one logit for each response, and the gradient is with respect to these logits.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpo_notes.maths.baselines import no_baseline
from dpo_notes.maths.checks import check_fraction, check_positive
from dpo_notes.maths.policy_gradient import kl_k1
from dpo_notes.worlds.finite.world import FiniteWorld


def penalised_reward(
    world: FiniteWorld, log_probs: Float[Tensor, " responses"], *, beta: float
) -> Float[Tensor, " responses"]:
    """The reward of each response minus the price of its log-ratio to the reference (reward).

    a(y) = r(y) - beta * log(pi(y) / pi_ref(y))        (Ouyang et al. 2022, arXiv 2203.02155, Eq. 2)

    log_probs: the policy (nats). beta: reward per nat, 0 or above; with 0 it is the reward itself.
    Errors: InputError for a beta outside its range.
    Known value: the mean of a under the policy is J = E[r] - beta * KL(pi || pi_ref).
    """
    check_fraction("beta", beta, below=math.inf)
    return world.reward - beta * kl_k1(log_probs, world.ref_log_probs)


def objective_gradient(
    world: FiniteWorld, logits: Float[Tensor, " responses"], *, beta: float
) -> Float[Tensor, " responses"]:
    """The gradient of J = E[r] - beta * KL(pi || pi_ref) with respect to the logits (reward per nat), exactly.

    dJ / d logit(y) = pi(y) * (a(y) - sum over z of pi(z) * a(z)), a = `penalised_reward`

    It is E[a(y) * grad log pi(y)], summed over all responses, with d log pi(y) / d logit(z) = [y = z] - pi(z).
    Errors: those of `penalised_reward`. Known value: it sums to 0; it is 0 at `optimal_policy`.
    """
    log_probs = logits.log_softmax(dim=0)
    probs, worth = log_probs.exp(), penalised_reward(world, log_probs, beta=beta)
    return probs * (worth - probs @ worth)


def climb(world: FiniteWorld, *, beta: float, learning_rate: float, steps: int) -> Float[Tensor, "points responses"]:
    """Log-probabilities (nats) of the reference, and after each of `steps` plain gradient steps on the logits.

    logits <- logits + learning_rate * `objective_gradient`: REINFORCE with infinitely many samples per step.

    beta: reward per nat, 0 or above. learning_rate: above 0. Errors: InputError for either outside its range.
    Known value: the reference if all rewards are equal. With beta above 0 and enough steps: `optimal_policy`.
    """
    check_positive("learning_rate", learning_rate)
    logits = world.ref_log_probs
    points = [logits]
    for _ in range(steps):
        logits = logits + learning_rate * objective_gradient(world, logits, beta=beta)
        points.append(logits)
    return torch.stack(points).log_softmax(dim=-1)


def gradient_estimates(
    world: FiniteWorld,
    logits: Float[Tensor, " responses"],
    responses: Int[Tensor, "repeats samples"],
    *,
    beta: float,
    baseline: Callable[[Tensor], Tensor] = no_baseline,
) -> Float[Tensor, "repeats responses"]:
    """The estimate of `objective_gradient` from each row of sampled responses (reward per nat).

    mean over the row's samples y of (a(y) - b) * grad log pi(y), a = `penalised_reward`        (Williams 1992)

    logits: of the policy that sampled. responses: the sampled ones, a row for each repetition of the experiment.
    baseline: maps the values a [repeats, samples] to b of that shape, as in `maths.baselines`.
    Errors: those of `penalised_reward` and of the baseline.
    Known value: the mean over all possible rows, weighted by probability, is `objective_gradient` if each b does not
    depend on its own sample.
    """
    log_probs = logits.log_softmax(dim=0)
    worth = penalised_reward(world, log_probs, beta=beta)[responses]
    advantages = (worth - baseline(worth)) / responses.shape[1]
    picked = logits.new_zeros(len(responses), len(logits)).scatter_add(1, responses, advantages)
    return picked - advantages.sum(dim=1, keepdim=True) * log_probs.exp()


def answers_at(
    logits: Float[Tensor, "points responses"], numbers: Float[Tensor, " samples"]
) -> Int[Tensor, "points samples"]:
    """Which response each fixed random number picks under each policy: sampling with the random numbers drawn before.

    The probabilities lie side by side from 0 to 1, and a number picks the response that it falls on. So a small change
    of the logits leaves almost all picks unchanged and flips a few: there is no slope, only jumps.

    numbers: from 0 up to, not including, 1, drawn once and kept.
    Known value: numbers 0.2 and 0.9 pick responses 0 and 1 of two equally likely ones.
    """
    edges = logits.softmax(dim=-1).cumsum(dim=-1)[..., :-1].contiguous()  # the last edge is 1, beyond every number
    return torch.searchsorted(edges, numbers.expand(len(logits), -1).contiguous(), right=True)
