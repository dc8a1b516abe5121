"""The cat, the broom, the bathtub and the meat: a small grid whose values and gradients can be computed exactly.

The cat moves to one of the four neighbouring cells. Rewards come on entering a cell: broom -1 (the episode goes on),
bathtub -10 and meat +100 (the episode ends), empty cell 0. A move against the border leaves the cat where it is and
earns 0, on the broom too. States are the cells, numbered row by row; `episodes.py` plays.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dpo_notes.maths.checks import check_fraction
from dpo_notes.maths.errors import InputError

CAT, EMPTY, BROOM, BATHTUB, MEAT = "C.BTM"
REWARD_ON_ENTERING = {CAT: 0.0, EMPTY: 0.0, BROOM: -1.0, BATHTUB: -10.0, MEAT: 100.0}
ENDS_EPISODE = BATHTUB + MEAT
MOVES = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}  # action number = place in this order
DISCOUNT = 0.9
KITCHEN = """
.....
...TM
CB...
"""  # The short way crosses the broom, the long way round does not. A cat with a discount of 0.4 or more crosses.


@dataclass(frozen=True, eq=False)
class GridWorld:
    """A map as tables: where each move leads, what it earns, and where episodes end. `read_map` makes one.

    rows: the map. start: the state where the cat starts.
    next_state, rewards: for each state and action, the state it leads to and the reward it earns; in a terminal state
    every action stays and earns 0, so its value is 0. terminal: True for bathtub and meat.
    """

    rows: tuple[str, ...]
    start: int
    next_state: Int[Tensor, "states actions"]
    rewards: Float[Tensor, "states actions"]
    terminal: Bool[Tensor, " states"]


def read_map(text: str = KITCHEN) -> GridWorld:
    """The world of a map: one line a row; C cat (once), . empty, B broom, T bathtub, M meat. Tables in float64.

    Errors: InputError for a row of another length, an unknown letter, or a map without exactly one cat.
    Known value: in "CBM" the moves right earn -1 and then 100.
    """
    rows = tuple(text.split())
    cells = "".join(rows)
    if len({len(row) for row in rows}) != 1:
        raise InputError(f"map has rows of lengths {[len(row) for row in rows]}; expected rows of one length")
    if unknown := set(cells) - set(REWARD_ON_ENTERING):
        raise InputError(f"map has {sorted(unknown)}; expected only the letters {list(REWARD_ON_ENTERING)}")
    if cells.count(CAT) != 1:
        raise InputError(f"map has {cells.count(CAT)} cats (letter {CAT}); expected exactly one")

    height, width = len(rows), len(rows[0])
    next_state = torch.arange(len(cells)).unsqueeze(1).repeat(1, len(MOVES))  # every move stays, unless set below
    rewards = torch.zeros(next_state.shape, dtype=torch.float64)
    for state, cell in enumerate(cells):
        for action, (down, right) in enumerate(MOVES.values()):
            row, column = state // width + down, state % width + right
            if cell not in ENDS_EPISODE and 0 <= row < height and 0 <= column < width:
                next_state[state, action] = row * width + column
                rewards[state, action] = REWARD_ON_ENTERING[rows[row][column]]
    terminal = torch.tensor([cell in ENDS_EPISODE for cell in cells])
    return GridWorld(rows, cells.index(CAT), next_state, rewards, terminal)


def action_values(
    world: GridWorld, values: Float[Tensor, " states"], *, discount: float = DISCOUNT
) -> Float[Tensor, "states actions"]:
    """Return (reward) of each action now, if the states that follow are worth `values`.

    Q(s, a) = r(s, a) + discount * V(s')        (Sutton and Barto 2018, Chapter 3; moves here are certain)

    values: of each state (reward). discount: of one step; 0 <= discount < 1, because otherwise a cat that never eats
    would have no finite value. Errors: InputError for a discount outside its range.
    Known value: `rewards` itself where values are 0.
    """
    check_fraction("discount", discount, below=1.0)
    return world.rewards + discount * values[world.next_state]


def value_iteration(
    world: GridWorld, *, discount: float = DISCOUNT, tolerance: float = 1e-12
) -> Iterator[Float[Tensor, " states"]]:
    """The values (reward) after each sweep of V <- max over actions of Q, starting from 0, until they are optimal.

    A sweep shrinks the largest difference of any two value functions by the factor discount (a contraction), so V is
    within discount / (1 - discount) * (last change) of the optimum. The sweeps stop when that is below `tolerance`
    (reward). Errors: as for `action_values`.
    """
    values = torch.zeros_like(world.rewards[:, 0])
    error_bound = float("inf")
    while error_bound > tolerance:
        previous, values = values, action_values(world, values, discount=discount).amax(dim=1)
        error_bound = discount / (1 - discount) * (values - previous).abs().max().item()
        yield values


def optimal_values(world: GridWorld, *, discount: float = DISCOUNT) -> Float[Tensor, " states"]:
    """The return (reward) of the best play from each state: the last sweep of `value_iteration`.

    Known value: one step from the meat 100, two steps 100 * discount. Errors: as for `action_values`.
    """
    *_, values = value_iteration(world, discount=discount)
    return values


def optimal_actions(world: GridWorld, *, discount: float = DISCOUNT) -> Bool[Tensor, "states actions"]:
    """True for every best action of each state, all ties included (to 1e-10 reward); in a terminal state all four.

    Known value: of "C.\\n.M", the cat may go right or down. Errors: as for `action_values`.
    """
    q = action_values(world, optimal_values(world, discount=discount), discount=discount)
    return q > q.amax(dim=1, keepdim=True) - 1e-10


def policy_values(
    world: GridWorld, logits: Float[Tensor, "states actions"], *, discount: float = DISCOUNT
) -> Float[Tensor, " states"]:
    """The expected return (reward) of a policy from each state, exactly: V solves (I - discount * P) V = r.

    P and r are the transitions and rewards under pi = softmax(logits) (the Bellman equation, Sutton and Barto 2018,
    Chapter 4). Autograd works through the solution, so the gradient of V[start] is the exact policy gradient.

    logits: of each action in each state; -inf forbids an action. discount: as for `action_values`, with its errors.
    Known value: `optimal_values`, if the policy takes only optimal actions.
    """
    check_fraction("discount", discount, below=1.0)
    policy = logits.softmax(dim=1, dtype=world.rewards.dtype)
    return torch.linalg.solve(_bellman_matrix(world, policy, discount), (policy * world.rewards).sum(dim=1))


def discounted_visits(
    world: GridWorld, logits: Float[Tensor, "states actions"], *, discount: float = DISCOUNT
) -> Float[Tensor, " states"]:
    """How often (discounted steps) each state is visited by a policy from the start, exactly.

    d(s) = sum over t >= 0 of discount^t * P(s_t = s), which solves d (I - discount * P) = (1 at the start).
    It is the weight of each state in the policy-gradient theorem (Sutton et al. 2000):
    grad V(start) = sum over s of d(s) * sum over a of grad pi(a | s) * Q(s, a).

    logits, discount: as for `policy_values`, with its errors. A terminal state counts for all the steps after the end.
    Known value: the visits add up to 1 / (1 - discount).
    """
    check_fraction("discount", discount, below=1.0)
    policy = logits.softmax(dim=1, dtype=world.rewards.dtype)
    at_start = torch.zeros_like(policy[:, 0])
    at_start[world.start] = 1
    return torch.linalg.solve(_bellman_matrix(world, policy, discount).T, at_start)


def _bellman_matrix(
    world: GridWorld, policy: Float[Tensor, "states actions"], discount: float
) -> Float[Tensor, "states states"]:
    """I - discount * P, where P[s, s'] is the policy's probability of a step from s to s'."""
    leads_to = torch.nn.functional.one_hot(world.next_state, len(policy)).to(policy.dtype)  # [S A S']
    return torch.eye(len(policy), dtype=policy.dtype) - discount * torch.einsum("sa,sat->st", policy, leads_to)
