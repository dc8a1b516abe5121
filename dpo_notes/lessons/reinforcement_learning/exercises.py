"""The exercises of notebook 03."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dpo_notes.maths.policy_gradient import discounted_returns
from dpo_notes.teaching.checking import Exercise, Mistake
from dpo_notes.worlds.kitchen.gridworld import action_values, read_map

KITCHEN = read_map()


def crossing_discounts(broom: float) -> list[float]:
    """The two discounts between which the cat crosses a broom that costs so much: 100 g^4 - 100 g^6 = broom."""
    roots = np.roots([-100, 0, 100, 0, 0, 0, -broom])
    return sorted(root.real for root in roots if abs(root.imag) < 1e-9 and 0 < root.real < 1)


def sweep(rewards: Tensor, next_state: Tensor, values: Tensor, discount: float) -> Tensor:
    world = replace(KITCHEN, rewards=rewards, next_state=next_state)
    return action_values(world, values, discount=discount).amax(dim=1)


def rewards_to_go(rewards: list[float], discount: float) -> list[float]:
    row = torch.tensor([rewards], dtype=torch.float64)
    return discounted_returns(row, torch.ones_like(row, dtype=torch.bool), discount=discount)[0].tolist()


def from_the_start(rewards: list[float], discount: float) -> list[float]:
    return [discount**t * value for t, value in enumerate(rewards_to_go(rewards, discount))]


def best_baseline(policy: Tensor, returns: Tensor) -> Tensor:
    """E[G |score|^2] / E[|score|^2]; the score of action a is one-hot(a) - policy."""
    weights = policy * (1 - 2 * policy + policy.square().sum())
    return (weights @ returns) / weights.sum()


def _values(seed: int) -> Tensor:
    return 20 * torch.randn(15, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


EXERCISES = (
    Exercise(
        number="03.1",
        expected=5.25,
        mistakes=(
            Mistake(gives=2.125, says="five steps, but four discounts: the first reward counts in full."),
            Mistake(
                gives=2.625, says="all is discounted once too often: the first reward comes at step 0, undiscounted."
            ),
            Mistake(gives=6.25, says="this is the meat alone; the broom's −1 is missing."),
            Mistake(gives=5.75, says="the broom is discounted, but it is the first reward: it counts in full."),
            Mistake(gives=99.0, says="this is the sum without any discount."),
        ),
    ),
    Exercise(
        number="03.2",
        expected=crossing_discounts(5),
        tolerance=2e-3,
        mistakes=(
            Mistake(gives=crossing_discounts(1), says="these are the limits for a broom of −1; here it costs 5."),
            Mistake(
                gives=[discount**2 for discount in crossing_discounts(5)],
                says="these look like the discounts squared: take the root.",
            ),
            Mistake(gives=crossing_discounts(5)[::-1], says="right numbers; the smaller one comes first."),
        ),
    ),
    Exercise(
        number="03.3",
        expected=sweep,
        cases=tuple((KITCHEN.rewards, KITCHEN.next_state, _values(seed), (0.9, 0.5)[seed]) for seed in (0, 1)),
        mistakes=(
            Mistake(
                gives=lambda rewards, next_state, values, discount: (rewards + discount * values[next_state]).mean(1),
                says="this averages over the moves: it values a cat that moves at random. The best move is wanted.",
            ),
            Mistake(
                gives=lambda rewards, next_state, values, discount: (rewards + values[next_state]).amax(1),
                says="what comes later is not discounted.",
            ),
            Mistake(
                gives=lambda rewards, next_state, values, discount: (discount * (rewards + values[next_state])).amax(1),
                says="the reward of this very step is discounted too; it counts in full.",
            ),
            Mistake(
                gives=lambda rewards, next_state, values, discount: rewards.amax(1),
                says="this looks one step ahead only; what the next cell is worth is missing.",
            ),
        ),
    ),
    Exercise(
        number="03.4",
        expected=rewards_to_go,
        cases=(([0.0, 0.0, -1.0, 100.0], 0.9), ([5.0], 0.5), ([1.0, -1.0, 2.0, 0.0, 3.0], 0.5)),
        mistakes=(
            Mistake(
                gives=lambda rewards, discount: [rewards_to_go(rewards, discount)[0]] * len(rewards),
                says="this gives every step the return of the whole episode; step t is answerable for what follows it.",
            ),
            Mistake(
                gives=from_the_start,
                says="the discount is counted from the start of the episode; G_t counts it from step t.",
            ),
            Mistake(
                gives=lambda rewards, discount: rewards_to_go(rewards, 1.0),
                says="these are plain sums of what is still to come; the discount is missing.",
            ),
            Mistake(
                gives=lambda rewards, discount: [sum(rewards[: t + 1]) for t in range(len(rewards))],
                says="these sums look back; a return looks ahead.",
            ),
        ),
    ),
    Exercise(
        number="03.5",
        expected=[-7.0, 9.0, -1.0, -1.0],
        mistakes=(
            Mistake(
                gives=[7.0, -9.0, 1.0, 1.0],
                says="this is the gradient of the loss; the return wants to go up, so the signs turn.",
            ),
            Mistake(
                gives=[0.0, 9.0, 0.0, 0.0],
                says="raising one probability lowers the others: their logits get a share too.",
            ),
            Mistake(
                gives=[-0.7, 0.9, -0.1, -0.1],
                says="this is the gradient of the probability; that of its logarithm is 1/π(a) times as large.",
            ),
            Mistake(
                gives=[0.0, 10.0, 0.0, 0.0],
                says="the −π(b) is missing: log π(a) = θ(a) − log of the sum over all moves.",
            ),
        ),
    ),
    Exercise(
        number="03.6",
        expected=0.75,
        mistakes=(
            Mistake(
                gives=1.0,
                says="1 it would be if the mean were over the other episodes; this one holds the episode's own return.",
            ),
            Mistake(gives=0.25, says="this is the share that is lost; what remains is asked for."),
            Mistake(
                gives=4 / 3,
                says="this is the factor that would mend the gradient; what it is before mending is asked for.",
            ),
        ),
    ),
    Exercise(
        number="03.7",
        expected=best_baseline,
        cases=(
            (torch.tensor([0.7, 0.2, 0.1], dtype=torch.float64), torch.tensor([10.0, 0.0, 4.0], dtype=torch.float64)),
            (torch.tensor([0.1, 0.9], dtype=torch.float64), torch.tensor([-1.0, 3.0], dtype=torch.float64)),
        ),
        mistakes=(
            Mistake(
                gives=lambda policy, returns: policy @ returns,
                says="this is the expected return: a good baseline, but not the best one.",
            ),
            Mistake(
                gives=lambda policy, returns: returns.mean(),
                says="this is the plain mean; each return counts by how often it is sampled, times its score squared.",
            ),
            Mistake(
                gives=lambda policy, returns: (
                    ((1 - 2 * policy + policy.square().sum()) @ returns)
                    / (1 - 2 * policy + policy.square().sum()).sum()
                ),
                says="the scores squared are there, but each action must also count as often as it is sampled.",
            ),
            Mistake(
                gives=lambda policy, returns: (policy * (1 - policy)) @ returns / (policy * (1 - policy)).sum(),
                says="this takes |score|² for 1 − π(a); its other components, π(b) squared for b ≠ a, belong to it.",
            ),
        ),
    ),
)
