"""The cat plays: sampled episodes of a grid world, the policy gradient estimated from them, and a cat that learns."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.policy_gradient import discounted_returns, masked_mean, reinforce_loss
from dpo_notes.worlds.kitchen.gridworld import DISCOUNT, GridWorld


@dataclass(frozen=True, eq=False)
class Episodes:
    """What happened in sampled episodes: at each step the state, the action taken there, and the reward it earned.

    mask: True for the steps that were played; after the end the cat stays where it is and earns 0.
    finished: True if the episode ended on its own; False if it was cut short.
    """

    states: Int[Tensor, "episodes time"]
    actions: Int[Tensor, "episodes time"]
    rewards: Float[Tensor, "episodes time"]
    mask: Bool[Tensor, "episodes time"]
    finished: Bool[Tensor, " episodes"]


def sample_episodes(
    world: GridWorld,
    logits: Float[Tensor, "states actions"],
    *,
    n_episodes: int,
    generator: torch.Generator,
    max_steps: int = 500,
) -> Episodes:
    """Episodes played side by side from the start by pi = softmax(logits), as long as the longest of them.

    max_steps: an episode that has not ended by then is cut (`finished` is False). It misses at most
    discount^max_steps * 100 reward: 1e-21 at discount 0.9, but 0.7 at 0.99.
    Errors: InputError for fewer than one episode or step.
    Known value: in "CM" with a policy that always goes right, one step and reward 100.
    """
    if n_episodes < 1 or max_steps < 1:
        raise InputError(f"n_episodes is {n_episodes!r} and max_steps {max_steps!r}; expected at least 1 of each")
    policy = logits.detach().softmax(dim=1)
    state = torch.full((n_episodes,), world.start)
    steps = []
    while len(steps) < max_steps and not world.terminal[state].all():
        action = torch.multinomial(policy[state], 1, generator=generator).squeeze(1)
        steps.append((state, action, world.rewards[state, action], ~world.terminal[state]))
        state = world.next_state[state, action]
    states, actions, rewards, mask = (torch.stack(column, dim=1) for column in zip(*steps, strict=True))
    return Episodes(states, actions, rewards, mask, finished=world.terminal[state])


def episode_losses(
    logits: Float[Tensor, "states actions"],
    episodes: Episodes,
    baseline: Float[Tensor, " states"],
    *,
    discount: float = DISCOUNT,
) -> Float[Tensor, " episodes"]:
    """REINFORCE loss of each episode (nats x reward), whose gradient has the mean -grad V(start).

    sum over its steps of -log pi(a_t | s_t) * discount^t * (G_t - b(s_t))        (Williams 1992)

    The factor discount^t belongs to the gradient of V(start). Most code leaves it out, so that late steps count as much
    as early ones; the result is not the gradient of any objective (Nota and Thomas 2020).

    logits: of the policy that played. baseline: b(s) (reward), any function of the state that does not depend on
    these episodes: it changes the variance of the gradient but not its mean. Zeros mean no baseline.
    discount: of one step, from 0 to 1. Errors: as for `discounted_returns`.
    Known value: an action of probability 1/2 that eats the meat at once has loss 100 log 2, without baseline.
    """
    advantages = discounted_returns(episodes.rewards, episodes.mask, discount=discount) - baseline[episodes.states]
    weights = discount ** torch.arange(advantages.shape[1], dtype=advantages.dtype)
    logps = logits.log_softmax(dim=1)[episodes.states, episodes.actions]
    return torch.where(episodes.mask, reinforce_loss(logps, weights * advantages), 0.0).sum(dim=1)


def learn(
    world: GridWorld,
    *,
    generator: torch.Generator,
    updates: int,
    learning_rate: float = 0.05,
    baseline_rate: float = 0.2,
    n_episodes: int = 64,
    discount: float = DISCOUNT,
) -> Iterator[Float[Tensor, "states actions"]]:
    """The logits after each update of a cat that learns by REINFORCE, starting from a uniform policy.

    An update plays episodes, takes a step of plain gradient ascent, and moves the baseline, a table of values, towards
    the observed returns. It yields copies, and `policy_values` says how good each is.

    learning_rate: of the logits, per unit of reward. baseline_rate: the fraction of the way that the baseline moves in
    a visited state, from 0 to 1; at 0 it stays zero, which is REINFORCE without baseline.
    Errors: InputError for a learning rate not above 0, or no episodes.
    """
    check_positive("learning_rate", learning_rate)
    logits = torch.zeros_like(world.rewards, requires_grad=True)
    baseline = torch.zeros_like(world.rewards[:, 0])
    for _ in range(updates):
        episodes = sample_episodes(world, logits, n_episodes=n_episodes, generator=generator)
        loss = episode_losses(logits, episodes, baseline, discount=discount).mean()
        (gradient,) = torch.autograd.grad(loss, logits)
        with torch.no_grad():
            logits -= learning_rate * gradient
        returns = discounted_returns(episodes.rewards, episodes.mask, discount=discount)
        for state in episodes.states[episodes.mask].unique():
            seen = masked_mean(returns, episodes.mask & (episodes.states == state))
            baseline[state] += baseline_rate * (seen - baseline[state])
        yield logits.detach().clone()
