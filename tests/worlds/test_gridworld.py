import itertools

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.kitchen.gridworld import (
    MOVES,
    action_values,
    discounted_visits,
    optimal_actions,
    optimal_values,
    policy_values,
    read_map,
    value_iteration,
)

UP, RIGHT, DOWN, LEFT = range(4)
DISCOUNTS = [0.0, 0.3, 0.9, 0.99]


@pytest.fixture
def kitchen():
    return read_map()


@pytest.fixture
def generator():
    return seeded()


def random_logits(world, generator):
    return torch.randn(world.rewards.shape, generator=generator, dtype=torch.float64)


def greedy_logits(world, discount):
    """Equal chances for all optimal actions, none for the others."""
    return torch.where(optimal_actions(world, discount=discount), 0.0, -torch.inf).double()


# The rules ------------------------------------------------------------------------------------------------------------


def test_rewards_come_on_entering_a_cell():
    """In C.BTM a walk to the right earns 0, -1 and -10, where it ends; the meat is entered from nowhere else."""
    world = read_map("C.BTM")
    assert world.rewards[:, RIGHT].tolist() == [0, -1, -10, 0, 0]
    assert world.next_state[:, RIGHT].tolist() == [1, 2, 3, 3, 4]
    assert world.terminal.tolist() == [False, False, False, True, True]
    assert world.rewards[:, LEFT].tolist() == [0, 0, 0, 0, 0]


def test_a_blocked_move_stays_and_earns_nothing_on_the_broom_too():
    world = read_map("B.\nC.")
    for action in (UP, LEFT):
        assert world.next_state[0, action] == 0 and world.rewards[0, action] == 0
    assert world.next_state[2, UP] == 0 and world.rewards[2, UP] == -1
    assert world.next_state[1, RIGHT] == 1  # no way round the edge into the next row


def test_moves_are_to_the_four_neighbours():
    world = read_map("...\n.C.\n...")
    assert world.start == 4
    assert world.next_state[4].tolist() == [1, 5, 7, 3] and list(MOVES) == ["up", "right", "down", "left"]


def test_an_end_is_absorbing_and_worth_nothing(kitchen, generator):
    ends = kitchen.terminal
    assert (kitchen.next_state[ends] == ends.nonzero()).all() and (kitchen.rewards[ends] == 0).all()
    assert (optimal_values(kitchen)[ends] == 0).all()
    assert policy_values(kitchen, random_logits(kitchen, generator))[ends].abs().max() < 1e-12


@pytest.mark.parametrize(
    "text, message",
    [("C.\n...", "rows of lengths"), ("C.X", "'X'"), ("..M", "0 cats"), ("C.C", "2 cats"), ("", "rows of lengths")],
)
def test_a_wrong_map_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        read_map(text)


@pytest.mark.parametrize("discount", [1.0, -0.1, float("nan")])
def test_a_discount_of_one_or_more_is_refused(kitchen, discount):
    logits = torch.zeros_like(kitchen.rewards)
    for call in (optimal_values, lambda *a, **k: policy_values(a[0], logits, **k)):
        with pytest.raises(InputError, match="discount"):
            call(kitchen, discount=discount)


# Optimal play ---------------------------------------------------------------------------------------------------------


def test_in_the_kitchen_the_far_sighted_cat_crosses_the_broom_and_the_short_sighted_one_goes_round(kitchen):
    """Over the broom the meat is 5 steps away, round it 7: -1 + 100 g^4 against 100 g^6.

    g = 0.9: 64.61 against 53.14. g = 0.3: -0.19 against 0.0729.
    """
    assert optimal_values(kitchen, discount=0.9)[kitchen.start].item() == pytest.approx(-1 + 100 * 0.9**4)
    assert optimal_actions(kitchen, discount=0.9)[kitchen.start].tolist() == [False, True, False, False]
    assert optimal_values(kitchen, discount=0.3)[kitchen.start].item() == pytest.approx(100 * 0.3**6)
    assert optimal_actions(kitchen, discount=0.3)[kitchen.start].tolist() == [True, False, False, False]


def best_return_by_trying_all_walks(rows, start, discount, length):
    """The largest discounted return over all walks of `length` moves, played on the letters of the map alone."""
    best = 0.0
    for walk in itertools.product(MOVES.values(), repeat=length):
        (row, column), total = start, 0.0
        for t, (down, right) in enumerate(walk):
            if 0 <= row + down < len(rows) and 0 <= column + right < len(rows[0]):
                row, column = row + down, column + right
                total += discount**t * {"B": -1, "T": -10, "M": 100}.get(rows[row][column], 0)
            if rows[row][column] in "TM":
                break
        best = max(best, total)
    return best


@pytest.mark.parametrize("rows", [("CB", "TM"), ("C.B", "BTM"), ("CT.", "..M")])
@pytest.mark.parametrize("discount", [0.05, 0.9])
def test_optimal_value_is_the_best_of_all_walks(rows, discount):
    value = optimal_values(read_map("\n".join(rows)), discount=discount)[0].item()
    assert value == pytest.approx(best_return_by_trying_all_walks(rows, (0, 0), discount, length=5))


def test_optimal_actions_hold_every_tie():
    world = read_map("C.\n.M")
    assert optimal_actions(world)[world.start].tolist() == [False, True, True, False]
    assert optimal_actions(world)[3].all()  # at the end nothing matters


@pytest.mark.parametrize("discount", DISCOUNTS)
def test_value_iteration_equals_the_linear_solve_of_the_greedy_policy(kitchen, discount):
    solved = policy_values(kitchen, greedy_logits(kitchen, discount), discount=discount)
    torch.testing.assert_close(optimal_values(kitchen, discount=discount), solved, atol=1e-9, rtol=0)


@pytest.mark.parametrize("discount", DISCOUNTS)
def test_no_random_policy_beats_the_optimum_anywhere(kitchen, discount, generator):
    best = optimal_values(kitchen, discount=discount)
    for _ in range(50):
        assert (policy_values(kitchen, 3 * random_logits(kitchen, generator), discount=discount) <= best + 1e-9).all()


@pytest.mark.parametrize("discount", DISCOUNTS)
def test_a_sweep_is_a_contraction_by_the_discount(kitchen, discount, generator):
    """Any two value functions come closer by at least the discount; two that differ by a constant by exactly that."""
    first, second = 50 * torch.randn(2, len(kitchen.terminal), generator=generator, dtype=torch.float64)

    def sweep(values):
        return action_values(kitchen, values, discount=discount).amax(dim=1)

    assert (sweep(first) - sweep(second)).abs().max() <= discount * (first - second).abs().max() + 1e-12
    torch.testing.assert_close(sweep(first + 7.0) - sweep(first), torch.full_like(first, 7 * discount))


def test_each_sweep_brings_the_values_closer_to_the_optimum_by_the_discount(kitchen):
    best = optimal_values(kitchen, discount=0.9)
    errors = [(values - best).abs().max() for values in value_iteration(kitchen, discount=0.9)]
    assert len(errors) > 5 and errors[-1] < 1e-12
    assert all(later <= 0.9 * earlier + 1e-12 for earlier, later in itertools.pairwise(errors))


def test_the_stopping_rule_keeps_its_promise(kitchen):
    best = optimal_values(kitchen, discount=0.99)
    for tolerance in (100.0, 20.0, 1.0):
        *_, values = value_iteration(kitchen, discount=0.99, tolerance=tolerance)
        assert (values - best).abs().max() <= tolerance


def test_optimal_values_grow_with_the_discount(kitchen):
    """They are never below 0 (bumping the wall earns 0), so looking further ahead can only add."""
    values = torch.stack([optimal_values(kitchen, discount=d) for d in (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99)])
    assert (values >= 0).all() and (values.diff(dim=0) >= -1e-12).all()


# Policies -------------------------------------------------------------------------------------------------------------


def test_value_of_a_policy_by_hand():
    """In CM, right with probability 1/2, else stay: V = 1/2 * 100 + 1/2 * 0.9 V, so V = 50 / 0.55."""
    logits = doubles([-torch.inf, 0.0, -torch.inf, 0.0], [0.0] * 4)
    assert policy_values(read_map("CM"), logits, discount=0.9)[0].item() == pytest.approx(50 / 0.55)


def test_value_of_a_policy_is_the_limit_of_its_own_sweeps(kitchen, generator):
    logits = random_logits(kitchen, generator)
    values = torch.zeros(len(kitchen.terminal), dtype=torch.float64)
    for _ in range(400):
        values = (logits.softmax(1) * action_values(kitchen, values, discount=0.9)).sum(dim=1)
    torch.testing.assert_close(policy_values(kitchen, logits, discount=0.9), values)


def test_a_constant_added_to_the_logits_of_a_state_changes_nothing(kitchen, generator):
    logits = random_logits(kitchen, generator)
    shift = torch.randn(len(logits), 1, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(policy_values(kitchen, logits + shift), policy_values(kitchen, logits))


def test_logits_of_single_precision_are_welcome(kitchen, generator):
    logits = random_logits(kitchen, generator).float()
    assert torch.equal(policy_values(kitchen, logits), policy_values(kitchen, logits.double()))
    assert torch.equal(discounted_visits(kitchen, logits), discounted_visits(kitchen, logits.double()))


def test_visits_add_up_and_weigh_the_rewards_to_the_value(kitchen, generator):
    """Two routes to V(start): rewards summed along visits, or the linear solve."""
    logits = random_logits(kitchen, generator)
    visits = discounted_visits(kitchen, logits, discount=0.9)
    assert visits.sum().item() == pytest.approx(10)
    value = visits @ (logits.softmax(1) * kitchen.rewards).sum(dim=1)
    torch.testing.assert_close(value, policy_values(kitchen, logits, discount=0.9)[kitchen.start])


def test_policy_gradient_theorem_equals_autograd_through_the_linear_solve(kitchen, generator):
    """d V(start) / d logit(s, a) = visits(s) * pi(a | s) * (Q(s, a) - V(s)) for a softmax."""
    logits = random_logits(kitchen, generator).requires_grad_()
    values = policy_values(kitchen, logits, discount=0.9)
    (exact,) = torch.autograd.grad(values[kitchen.start], logits)
    advantages = action_values(kitchen, values, discount=0.9) - values[:, None]
    theorem = discounted_visits(kitchen, logits, discount=0.9)[:, None] * logits.softmax(1) * advantages
    torch.testing.assert_close(exact, theorem.detach())


def test_exact_gradient_ascent_reaches_the_optimum():
    """In a kitchen of four cells; plain ascent on the value of the start."""
    world = read_map("C.\nTM")
    logits = torch.zeros_like(world.rewards, requires_grad=True)
    for _ in range(500):
        (gradient,) = torch.autograd.grad(policy_values(world, logits)[world.start], logits)
        logits = (logits + 0.3 * gradient).detach().requires_grad_()
    assert policy_values(world, logits)[world.start].item() == pytest.approx(90, abs=0.5)
