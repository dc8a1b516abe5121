"""One prompt with finitely many responses: expectations are finite sums, so theory can be checked to the last digit.

Three ways lead to the optimal policy of the KL-constrained objective: `ascend_objective`, gradient ascent on it;
`fit_reward` and then the ascent with the fitted reward; and `fit_dpo`, which fits the policy to comparisons directly.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpo_notes.maths.bradley_terry import preference_nll, preference_probability
from dpo_notes.maths.checks import check_positive, check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.optimum import rlhf_objective
from dpo_notes.maths.policy_gradient import kl_k1, reinforce_loss


@dataclass(frozen=True, eq=False)
class FiniteWorld:
    """reward: the true reward of each response (nats). ref_log_probs: the reference's log-probabilities (nats)."""

    reward: Float[Tensor, " responses"]
    ref_log_probs: Float[Tensor, " responses"]

    def __post_init__(self) -> None:
        check_same_shape(reward=self.reward, ref_log_probs=self.ref_log_probs)


@dataclass(frozen=True, eq=False)
class Population:
    """Every comparison that can be made: row n says that response chosen[n] was preferred to rejected[n].

    weights: the probability of each row when two responses are drawn from the reference and compared; they sum to 1.
    """

    chosen: Int[Tensor, " comparisons"]
    rejected: Int[Tensor, " comparisons"]
    weights: Float[Tensor, " comparisons"]


def random_world(
    n_responses: int, *, generator: torch.Generator, reward_std: float = 1.0, ref_std: float = 1.0
) -> FiniteWorld:
    """A world in float64 with normal rewards and a reference that is the softmax of normal logits.

    n_responses: at least 2. reward_std, ref_std: standard deviation of rewards and of reference logits (nats).
    Errors: InputError for a number outside its range.
    """
    if n_responses < 2:
        raise InputError(f"n_responses is {n_responses}; expected at least 2, to have something to compare")
    check_positive("reward_std", reward_std)
    check_positive("ref_std", ref_std)
    reward, ref_logits = torch.randn(2, n_responses, generator=generator, dtype=torch.float64)
    return FiniteWorld(reward_std * reward, (ref_std * ref_logits).log_softmax(dim=0))


def preference_matrix(reward: Float[Tensor, " responses"]) -> Float[Tensor, "responses responses"]:
    """P[i, j], the probability that response i is preferred to response j: Bradley-Terry for all pairs at once.

    Known value: 1/2 on the diagonal; P + its transpose is 1 everywhere.
    """
    row, column = torch.broadcast_tensors(reward[:, None], reward[None, :])
    return preference_probability(row, column)


def population(world: FiniteWorld) -> Population:
    """All comparisons with their probabilities, like an infinite data set of preferences.

    weight(i over j) = 2 * pi_ref(i) * pi_ref(j) * P(i over j)

    Either of the two draws may be i, hence the 2. A response drawn twice is kept, with the weight pi_ref(i)^2; it adds
    a constant to a loss. This is the paper's expectation over D (Rafailov et al. 2023, Eq. 7).
    Known value: two equally likely responses of equal reward: four rows of weight 1/4.
    """
    ref_probs = world.ref_log_probs.exp()
    weights = 2 * torch.outer(ref_probs, ref_probs) * preference_matrix(world.reward)
    responses = torch.arange(len(ref_probs))
    chosen, rejected = torch.cartesian_prod(responses, responses).unbind(dim=1)
    return Population(chosen, rejected, weights.flatten())


def population_loss(
    world: FiniteWorld, log_probs: Float[Tensor, " responses"], *, beta: float, loss_fn: Callable = dpo_loss
) -> Float[Tensor, ""]:
    """The mean of a preference loss (its unit; nats for DPO) over the whole population of comparisons, exactly.

    sum over i, j of weight(i over j) * loss_fn(h_i, h_j, beta=beta), h = log pi - log pi_ref

    log_probs: the policy (nats). beta: above 0. loss_fn: `dpo_loss`, or any loss of paired log-ratios.
    Errors: those of loss_fn. Known value: log 2 for DPO where the policy is the reference.
    """
    data = population(world)
    logratios = log_probs - world.ref_log_probs
    return data.weights @ loss_fn(logratios[data.chosen], logratios[data.rejected], beta=beta)


def response_losses(
    world: FiniteWorld,
    logits: Float[Tensor, " responses"],
    responses: Int[Tensor, " samples"],
    *,
    beta: float,
    baseline: float = 0.0,
) -> Float[Tensor, " samples"]:
    """REINFORCE loss of each sampled response (nats x reward), whose gradient has the mean -grad J.

    -log pi(y) * (r(y) - beta * log(pi(y) / pi_ref(y)) - baseline)        (Williams 1992, with the KL in the reward)

    The log-ratio in the reward is a constant here, like the rest of the advantage: its own gradient has mean 0.

    logits: of the policy that sampled. responses: the sampled ones. beta: reward per nat of KL, above 0.
    baseline: any number (reward) that does not depend on these samples; it only changes the variance.
    Errors: InputError for a beta outside its range.
    """
    check_positive("beta", beta)
    logps, ref_logps = logits.log_softmax(dim=0)[responses], world.ref_log_probs[responses]
    return reinforce_loss(logps, world.reward[responses] - beta * kl_k1(logps, ref_logps) - baseline)


def ascend_objective(world: FiniteWorld, *, beta: float, steps: int = 60) -> Float[Tensor, " responses"]:
    """Log-probabilities (nats) of the policy that `steps` steps of gradient ascent on J reach from the reference.

    J = E_pi[r] - beta * KL(pi || pi_ref)        (Rafailov et al. 2023, Eq. 3)

    The gradient comes from autograd, and its component for response y is divided by pi(y): the natural gradient of a
    softmax (Kakade 2001). Plain ascent would hardly move a rare response, as pi(y) is a factor of its gradient. Each
    step of size 1 / (2 beta) halves the error of the logits (size 1 / beta would need a single step).

    beta: reward per nat of KL, above 0; steps: 60 are enough up to rounding. Errors: InputError for either not above 0,
    and for a beta so small that a probability becomes 0 in the tensors' precision (float64: rewards / beta near 700).
    Known value: `optimal_policy`.
    """
    check_positive("beta", beta)
    if steps < 1:
        raise InputError(f"steps is {steps!r}; expected at least 1")
    logits = world.ref_log_probs.clone().requires_grad_()
    for _ in range(steps):
        log_probs = logits.log_softmax(dim=0)
        if (log_probs.exp() == 0).any():
            raise InputError(f"beta is {beta!r}: a probability became 0 in {logits.dtype}; expected a larger beta")
        objective = rlhf_objective(log_probs, world.reward, world.ref_log_probs, beta=beta)
        (gradient,) = torch.autograd.grad(objective, logits)
        with torch.no_grad():
            logits += gradient / log_probs.exp() / (2 * beta)
    return logits.detach().log_softmax(dim=0)


def fit_reward(world: FiniteWorld) -> Float[Tensor, " responses"]:
    """The reward (nats, mean 0) that best explains the population of comparisons by Bradley-Terry.

    Comparisons depend only on differences of rewards, so it equals the true reward minus its mean over responses. For
    the second way, use `ascend_objective(FiniteWorld(fit_reward(world), world.ref_log_probs), beta=beta)`.
    Known value: 0 if all true rewards are equal.
    """
    data = population(world)

    def loss_of(reward: Tensor) -> Tensor:
        return data.weights @ preference_nll(reward[data.chosen], reward[data.rejected])

    reward = minimise(loss_of, torch.zeros_like(world.reward))
    return reward - reward.mean()


def fit_dpo(world: FiniteWorld, *, beta: float, loss_fn: Callable = dpo_loss) -> Float[Tensor, " responses"]:
    """Log-probabilities (nats) of the softmax policy that minimises `population_loss`, starting from the reference.

    beta: of the loss, above 0. loss_fn: `dpo_loss`, or another smooth loss of paired log-ratios.
    Errors: those of loss_fn. Known value: `optimal_policy` of the true reward, for DPO.
    """

    def loss_of(logits: Tensor) -> Tensor:
        return population_loss(world, logits.log_softmax(dim=0), beta=beta, loss_fn=loss_fn)

    return minimise(loss_of, world.ref_log_probs).log_softmax(dim=0)


def descend(
    loss_of: Callable[[Tensor], Tensor],
    start: Float[Tensor, "*shape"],
    *,
    make_optimizer: Callable[[list[Tensor]], torch.optim.Optimizer],
    steps: int,
) -> Iterator[Float[Tensor, "*shape"]]:
    """The parameters after each step of an optimizer on a loss, starting from `start` (copies; start is not changed).

    make_optimizer: takes a list of parameters and returns an optimizer, such as `lambda p: torch.optim.SGD(p, lr=0.5)`.
    """
    point = start.detach().clone().requires_grad_()
    optimizer = make_optimizer([point])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(point)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        yield point.detach().clone()


def minimise(loss_of: Callable[[Tensor], Tensor], start: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The minimiser of a smooth convex loss, by LBFGS from `start`: descent that estimates the curvature as it goes.

    It stops when float64 shows no further decrease. A minimum at infinity is approached but not found.
    """
    (point,) = descend(loss_of, start, make_optimizer=_lbfgs, steps=1)
    return point


def _lbfgs(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(
        parameters, max_iter=500, tolerance_grad=1e-14, tolerance_change=0, line_search_fn="strong_wolfe"
    )
