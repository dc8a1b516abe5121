"""Every episode of a small world, its probability, and its estimate of the gradient.

With all of them in one table, an expectation over episodes is a finite sum, so the policy-gradient theorem can be
checked to the last digit. `episodes.py` samples instead.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.kitchen.episodes import Episodes
from dpo_notes.worlds.kitchen.gridworld import GridWorld

MOST_WALKS = 100_000  # as many action sequences as fit into memory with room to spare


def follow(world: GridWorld, actions: Int[Tensor, "episodes time"]) -> Episodes:
    """The episodes in which the cat takes these actions one after the other; actions after the end are ignored.

    actions: by number, in the order of MOVES. `finished` says whether the walk reached an end.
    Errors: InputError for an action that the world does not have.
    Known value: in "CM" the walk right, right has rewards 100, 0 and the mask True, False.
    """
    if not ((actions >= 0) & (actions < world.rewards.shape[1])).all():
        raise InputError(f"actions hold {actions.unique().tolist()}; expected numbers below {world.rewards.shape[1]}")
    state = torch.full((len(actions),), world.start)
    states = []
    for action in actions.unbind(dim=1):
        states.append(state)
        state = world.next_state[state, action]
    states = torch.stack(states, dim=1)
    return Episodes(
        states, actions, world.rewards[states, actions], ~world.terminal[states], finished=world.terminal[state]
    )


def every_episode(world: GridWorld, *, steps: int) -> Episodes:
    """Every different episode of at most `steps` steps: those that end on their own and those cut after `steps`.

    steps: at least 1; the table has up to (number of actions)^steps rows.
    Errors: InputError for no step, or for more than 100,000 action sequences.
    Known value: "CM" has 13 in two steps: right at once, or one of three bumps and then any of the four moves.
    """
    n_actions = world.rewards.shape[1]
    if steps < 1 or n_actions**steps > MOST_WALKS:
        raise InputError(f"steps is {steps!r}; expected at least 1, and {n_actions}^steps at most {MOST_WALKS}")
    actions = torch.cartesian_prod(*[torch.arange(n_actions)] * steps).reshape(-1, steps)
    walks = follow(world, actions)
    different = (walks.mask | (actions == 0)).all(dim=1)  # of walks that differ only after their end, one is kept
    return Episodes(**{name: getattr(walks, name)[different] for name in Episodes.__dataclass_fields__})


def episode_logps(logits: Float[Tensor, "states actions"], episodes: Episodes) -> Float[Tensor, " episodes"]:
    """Log-probability (nats) of each episode under pi = softmax(logits), summed over the steps that were played.

    log p(episode) = sum over t of log pi(a_t | s_t)        (moves are deterministic, so the world adds no factor)

    Known value: the probabilities of `every_episode` add up to 1, whatever the policy.
    """
    logps = logits.log_softmax(dim=1)[episodes.states, episodes.actions]
    return torch.where(episodes.mask, logps, 0.0).sum(dim=1)


def weighted_scores(
    logits: Float[Tensor, "states actions"], episodes: Episodes, weights: Float[Tensor, "episodes time"]
) -> Float[Tensor, "episodes states actions"]:
    """For each episode the sum over its steps of weight * grad log pi(a_t | s_t), with respect to all logits.

    d log pi(a | s) / d logit(s, b) = 1[a = b] - pi(b | s), and 0 for the logits of other states (the score of a
    softmax; Sutton and Barto 2018, Section 13.3). In closed form, because autograd would need a backward pass for every
    episode.

    weights: of each step. discount^t * G_t gives the episode's REINFORCE estimate, and ones give the gradient of its
    log-probability. Steps after the end do not count. Errors: InputError where weights and rewards differ in shape.
    Known value: with the weights of `episode_losses`, the mean over episodes is minus the gradient of the mean loss.
    """
    check_same_shape(weights=weights, rewards=episodes.rewards)
    policy = logits.detach().softmax(dim=1)
    scores = torch.nn.functional.one_hot(episodes.actions, policy.shape[1]) - policy[episodes.states]  # [E T A]
    weighted = torch.where(episodes.mask, weights, 0.0)[..., None] * scores
    total = weighted.new_zeros(len(weights), *policy.shape)
    return total.scatter_add_(1, episodes.states[..., None].expand_as(weighted), weighted)
