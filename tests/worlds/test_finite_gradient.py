"""The gradient of a finite world against autograd, and its estimates against it, over every sample there can be."""

import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.baselines import batch_mean, leave_one_out, no_baseline
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import optimal_policy, rlhf_objective
from dpo_notes.worlds.finite.gradient import answers_at, climb, gradient_estimates, objective_gradient, penalised_reward
from dpo_notes.worlds.finite.world import FiniteWorld, random_world, response_losses


@pytest.fixture
def world():
    return random_world(4, generator=seeded())


@pytest.fixture
def logits():
    return doubles(0.3, -0.5, 1.0, 0.2)


def every_row(logits, samples):
    """(rows [4^samples, samples], the probability of each): all possible outcomes of this many samples."""
    rows = torch.cartesian_prod(*[torch.arange(len(logits))] * samples).view(-1, samples)
    return rows, logits.log_softmax(0)[rows].sum(dim=1).exp()


def test_the_gradient_is_autograds(world, logits):
    logits.requires_grad_()
    objective = rlhf_objective(logits.log_softmax(0), world.reward, world.ref_log_probs, beta=0.7)
    (wanted,) = torch.autograd.grad(objective, logits)
    torch.testing.assert_close(objective_gradient(world, logits.detach(), beta=0.7), wanted, rtol=0, atol=1e-14)


def test_by_hand_without_a_leash():
    """Probabilities 3/4 and 1/4, rewards 1 and -1: mean 1/2, so 3/4 (1 - 1/2) = 3/8 and 1/4 (-1 - 1/2) = -3/8."""
    world = FiniteWorld(torch.tensor([1.0, -1.0]), torch.tensor([0.5, 0.5]).log())
    gradient = objective_gradient(world, torch.tensor([math.log(3), 0.0]), beta=0)
    torch.testing.assert_close(gradient, torch.tensor([3 / 8, -3 / 8]))


def test_the_mean_of_the_penalised_reward_is_the_objective(world, logits):
    log_probs = logits.log_softmax(0)
    worth = penalised_reward(world, log_probs, beta=0.7)
    wanted = rlhf_objective(log_probs, world.reward, world.ref_log_probs, beta=0.7)
    torch.testing.assert_close(log_probs.exp() @ worth, wanted)


def test_the_gradient_is_zero_at_the_optimum(world):
    best = optimal_policy(world.reward, world.ref_log_probs, beta=0.7)
    torch.testing.assert_close(objective_gradient(world, best, beta=0.7), torch.zeros_like(best), rtol=0, atol=1e-14)


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize(
    ("baseline", "factor"),
    [(no_baseline, lambda n: 1.0), (leave_one_out, lambda n: 1.0), (batch_mean, lambda n: 1 - 1 / n)],
)
def test_over_all_rows_the_estimates_have_the_exact_gradient_as_mean(world, logits, samples, baseline, factor):
    rows, probability = every_row(logits, samples)
    estimates = gradient_estimates(world, logits, rows, beta=0.7, baseline=baseline)
    wanted = factor(samples) * objective_gradient(world, logits, beta=0.7)
    torch.testing.assert_close(probability @ estimates, wanted, rtol=0, atol=1e-14)


def test_an_estimate_is_minus_the_gradient_of_the_mean_loss(world, logits):
    responses = torch.tensor([2, 0, 2, 3, 1])
    logits.requires_grad_()
    loss = response_losses(world, logits, responses, beta=0.7).mean()
    (gradient,) = torch.autograd.grad(loss, logits)
    estimate = gradient_estimates(world, logits.detach(), responses[None], beta=0.7)[0]
    torch.testing.assert_close(estimate, -gradient)


def test_the_climb_begins_at_the_reference_and_ends_at_the_optimum(world):
    points = climb(world, beta=1.0, learning_rate=1.0, steps=2000).exp()
    torch.testing.assert_close(points[0], world.ref_log_probs.exp())
    torch.testing.assert_close(points[-1], optimal_policy(world.reward, world.ref_log_probs, beta=1.0).exp())
    assert points.shape == (2001, 4)


def test_a_step_of_the_climb_is_a_step_on_the_logits(world):
    stepped = world.ref_log_probs + 0.5 * objective_gradient(world, world.ref_log_probs, beta=0.3)
    reached = climb(world, beta=0.3, learning_rate=0.5, steps=1)[1]
    torch.testing.assert_close(reached, stepped.log_softmax(0))


def test_fixed_numbers_pick_the_response_that_they_fall_upon():
    """Of probabilities 1/2, 1/4, 1/4 the edges are 0.5 and 0.75; an edge belongs to the response above it."""
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]).log()
    numbers = torch.tensor([0.0, 0.4, 0.5, 0.74, 0.76, 0.99])
    assert answers_at(logits, numbers).tolist() == [[0, 0, 1, 1, 2, 2], [0, 1, 2, 2, 2, 2]]


@pytest.mark.parametrize("beta", [-0.1, math.nan])
def test_a_negative_price_is_refused(world, logits, beta):
    with pytest.raises(InputError, match="beta"):
        objective_gradient(world, logits, beta=beta)
    with pytest.raises(InputError, match="learning_rate"):
        climb(world, beta=1.0, learning_rate=0.0, steps=1)
