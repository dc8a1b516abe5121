"""What the figures and explorers of notebook 03 share: two ways through the kitchen, trained cats, gradient noise."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dpo_notes.maths.policy_gradient import discounted_returns
from dpo_notes.worlds.kitchen.enumeration import follow, weighted_scores
from dpo_notes.worlds.kitchen.episodes import learn, sample_episodes
from dpo_notes.worlds.kitchen.gridworld import BATHTUB, BROOM, DISCOUNT, MEAT, MOVES, policy_values, read_map

WORLD = read_map()
OVER = ["right", "right", "right", "right", "up"]  # the short way, across the broom
ROUND = ["up", "right", "right", "down", "right", "right", "up"]  # a long way round it
UPDATES, CATS, EPISODES, BASELINE_RATE = 80, 6, 16, 0.2
LEARNING_RATES = (0.05, 0.2, 0.5)
POOL = 4000  # episodes
AT_BROOM = (WORLD.start, list(MOVES).index("right"))  # the one decision whose gradient is shown


def way_return(moves: list[str], *, discount: float) -> float:
    """The return (reward) of a walk from the start of the kitchen, given as names of moves."""
    walk = follow(WORLD, torch.tensor([[list(MOVES).index(move) for move in moves]]))
    return discounted_returns(walk.rewards, walk.mask, discount=discount)[0, 0].item()


def crossing_gain(discount: float) -> float:
    """The return (reward) of the short way over the broom, minus that of the long way round, from the start."""
    return way_return(OVER, discount=discount) - way_return(ROUND, discount=discount)


def way_in_words(path: list[int]) -> str:
    """How a walk from the start of the kitchen ends, as the end of a sentence about the cat."""
    cells = ["".join(WORLD.rows)[state] for state in path]
    if cells[-1] == MEAT:
        return f"{'crosses' if BROOM in cells else 'goes round'} the broom and eats at step {len(path) - 1}"
    return "ends in the bathtub" if cells[-1] == BATHTUB else "gets nowhere"


@lru_cache
def learning_run(learning_rate: float, baseline: bool, cat: int) -> tuple[Tensor, list[float]]:
    """The logits before and after each update of one cat, [UPDATES + 1, states, actions], and the values of its start.

    baseline: whether it learns with one. cat: the seed. Cached, because it takes a while.
    """
    run = learn(
        WORLD,
        generator=torch.Generator().manual_seed(cat),
        updates=UPDATES,
        learning_rate=learning_rate,
        baseline_rate=BASELINE_RATE if baseline else 0.0,
        n_episodes=EPISODES,
    )
    logits = torch.stack([torch.zeros_like(WORLD.rewards), *run])
    return logits, [policy_values(WORLD, each)[WORLD.start].item() for each in logits]


@lru_cache
def noise_pool(updates: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(first, second, exact): one component of the policy gradient, from POOL episodes of a cat after some updates.

    Each episode's estimate is first - b * second for a constant baseline b; `exact` is the true value. The component
    is that of the move "right" at the start, onto the broom.
    """
    logits = torch.zeros_like(WORLD.rewards)
    for logits in learn(WORLD, generator=torch.Generator().manual_seed(0), updates=updates):  # noqa: B007  the last one
        pass
    generator = torch.Generator().manual_seed(1)
    first, second = [], []
    for _ in range(POOL // 1000):
        episodes = sample_episodes(WORLD, logits, n_episodes=1000, generator=generator)
        returns = discounted_returns(episodes.rewards, episodes.mask, discount=DISCOUNT)
        powers = (DISCOUNT ** torch.arange(returns.shape[1], dtype=returns.dtype)).expand_as(returns)
        first.append(weighted_scores(logits, episodes, powers * returns)[:, *AT_BROOM])
        second.append(weighted_scores(logits, episodes, powers)[:, *AT_BROOM])
    leaf = logits.clone().requires_grad_()
    (exact,) = torch.autograd.grad(policy_values(WORLD, leaf)[WORLD.start], leaf)
    return torch.cat(first).numpy(), torch.cat(second).numpy(), exact[AT_BROOM].item()
