from dataclasses import replace
from functools import partial

import pytest
import torch
from intervals import deviations
from tensors import seeded

from dpo_notes.maths.bradley_terry import sample_preferences
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.optimum import kl_divergence, log_partition, optimal_policy, rlhf_objective
from dpo_notes.worlds.finite.world import (
    FiniteWorld,
    ascend_objective,
    descend,
    fit_dpo,
    fit_reward,
    population,
    population_loss,
    preference_matrix,
    random_world,
    response_losses,
)

BETAS = [0.1, 0.3, 1.0, 3.0]
SEEDS = [0, 1, 2]


def world_of(seed, n_responses=6):
    return random_world(n_responses, generator=seeded(seed))


def distance(log_probs, other):
    """The largest difference of probability."""
    return (log_probs.exp() - other.exp()).abs().max().item()


# The world ------------------------------------------------------------------------------------------------------------


def test_preference_matrix_by_hand():
    """Rewards log 3 and 0: 3 / (3 + 1)."""
    matrix = preference_matrix(torch.tensor([3.0, 1.0]).log())
    torch.testing.assert_close(matrix, torch.tensor([[0.5, 0.75], [0.25, 0.5]]))


def test_population_by_hand():
    """pi_ref = (1/4, 3/4), P(0 over 1) = 3/4: 1/16 and 9/16 for a response against itself, 2 * 3/16 shared 3 to 1."""
    world = FiniteWorld(torch.tensor([3.0, 1.0]).log(), torch.tensor([0.25, 0.75]).log())
    data = population(world)
    assert data.chosen.tolist() == [0, 0, 1, 1] and data.rejected.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(data.weights, torch.tensor([2, 9, 3, 18]) / 32)


def test_population_is_the_limit_of_sampled_comparisons():
    world, generator, n = world_of(0, n_responses=3), seeded(), 50_000
    drawn = torch.multinomial(world.ref_log_probs.exp(), 2 * n, replacement=True, generator=generator).view(n, 2)
    chosen, rejected = sample_preferences(world.reward, drawn, generator=generator).unbind(1)
    seen = torch.nn.functional.one_hot(3 * chosen + rejected, 9).double()
    assert deviations(seen, population(world).weights).abs().max() < 4


def test_population_loss_is_log_2_where_the_policy_is_the_reference():
    world = world_of(0)
    assert population_loss(world, world.ref_log_probs, beta=0.1).item() == pytest.approx(torch.tensor(2.0).log().item())


def test_random_worlds_follow_their_generator_and_their_spread():
    assert torch.equal(world_of(1).reward, world_of(1).reward)
    wide = random_world(20_000, generator=seeded(), reward_std=3.0, ref_std=0.5)
    assert wide.reward.std().item() == pytest.approx(3, rel=0.03)
    assert wide.ref_log_probs.std().item() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: random_world(1, generator=torch.Generator()), "n_responses is 1"),
        (lambda: random_world(3, generator=torch.Generator(), reward_std=0.0), "reward_std"),
        (lambda: ascend_objective(world_of(0), beta=0.0), "beta"),
        (lambda: ascend_objective(world_of(0), beta=1e-4), "expected a larger beta"),
        (lambda: fit_dpo(world_of(0), beta=-1.0), "beta"),
        (lambda: response_losses(world_of(0), torch.zeros(6).double(), torch.tensor([0]), beta=0.0), "beta"),
    ],
)
def test_a_wrong_number_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


# Three ways -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("seed", SEEDS)
def test_three_ways_meet_at_the_optimal_policy(seed, beta):
    world = world_of(seed)
    optimum = optimal_policy(world.reward, world.ref_log_probs, beta=beta)
    fitted = replace(world, reward=fit_reward(world))
    assert distance(ascend_objective(world, beta=beta), optimum) < 1e-12
    assert distance(ascend_objective(fitted, beta=beta), optimum) < 1e-6
    assert distance(fit_dpo(world, beta=beta), optimum) < 1e-6


@pytest.mark.parametrize("n_responses", [2, 3, 12])
def test_ways_meet_for_any_number_of_responses(n_responses):
    world = world_of(4, n_responses)
    optimum = optimal_policy(world.reward, world.ref_log_probs, beta=0.3)
    assert distance(ascend_objective(world, beta=0.3), optimum) < 1e-12
    assert distance(fit_dpo(world, beta=0.3), optimum) < 1e-6


@pytest.mark.parametrize("beta", BETAS)
def test_the_climb_ends_at_beta_log_z_and_rises_at_every_step(beta):
    world = world_of(0)
    climb = [ascend_objective(world, beta=beta, steps=steps) for steps in (1, 2, 4, 8, 60)]
    heights = torch.stack([rlhf_objective(p, world.reward, world.ref_log_probs, beta=beta) for p in climb])
    assert (heights.diff() >= -1e-12).all()
    torch.testing.assert_close(
        heights[-1], beta * log_partition(world.reward, world.ref_log_probs, beta=beta), atol=1e-10, rtol=0
    )


def test_each_step_of_the_climb_halves_what_the_logits_lack():
    world = world_of(0)
    optimum = optimal_policy(world.reward, world.ref_log_probs, beta=0.5)
    lacking = [optimum - ascend_objective(world, beta=0.5, steps=steps) for steps in (3, 4)]
    spreads = [gap.max() - gap.min() for gap in lacking]  # without the constant that a softmax ignores
    assert (spreads[1] / spreads[0]).item() == pytest.approx(0.5)


def test_fitted_reward_is_the_true_one_up_to_its_mean():
    world = world_of(0)
    torch.testing.assert_close(fit_reward(world), world.reward - world.reward.mean(), atol=1e-6, rtol=0)


def test_a_constant_added_to_the_reward_changes_no_way():
    world = world_of(1)
    shifted = replace(world, reward=world.reward + 5)
    assert distance(fit_dpo(world, beta=0.5), fit_dpo(shifted, beta=0.5)) < 1e-6
    assert distance(ascend_objective(world, beta=0.5), ascend_objective(shifted, beta=0.5)) < 1e-12
    torch.testing.assert_close(fit_reward(world), fit_reward(shifted), atol=1e-6, rtol=0)


def test_dpo_lands_at_log_ratio_margins_logit_p_over_beta():
    """Small beta, far from the reference: margin = log(p / (1 - p)) / beta = (r_i - r_j) / beta."""
    world = world_of(2)
    for beta in BETAS:
        logratios = fit_dpo(world, beta=beta) - world.ref_log_probs
        odds = preference_matrix(world.reward).logit() / beta
        torch.testing.assert_close(logratios[:, None] - logratios[None, :], odds, atol=1e-5 / beta, rtol=0)


def test_smaller_beta_is_further_from_the_reference():
    world = world_of(3)
    kls = [kl_divergence(fit_dpo(world, beta=beta), world.ref_log_probs).item() for beta in BETAS]
    assert kls == sorted(kls, reverse=True) and kls[0] > 10 * kls[-1]


def test_smoothed_dpo_lands_where_smoothed_preferences_say():
    """cDPO with e on labels of probability p is DPO on labels of probability (1 - e) p + e (1 - p)."""
    world = world_of(0, n_responses=2)
    policy = fit_dpo(world, beta=0.5, loss_fn=partial(dpo_loss, label_smoothing=0.2))
    probability = preference_matrix(world.reward)[0, 1]
    logratios = policy - world.ref_log_probs
    expected = (0.8 * probability + 0.2 * (1 - probability)).logit() / 0.5
    assert (logratios[0] - logratios[1]).item() == pytest.approx(expected.item(), abs=1e-6)


def test_descend_yields_copies():
    """Down x^2 at rate 1/4: each step halves x."""
    start = torch.tensor([8.0])
    path = descend(lambda x: x.square().sum(), start, make_optimizer=partial(torch.optim.SGD, lr=0.25), steps=3)
    assert [point.item() for point in list(path)] == [4, 2, 1] and start.item() == 8


# REINFORCE ------------------------------------------------------------------------------------------------------------


def gradient_of_each_response(world, logits, beta, baseline=0.0):
    """The estimate of grad J that each response would give if it were the one sampled, one row per response."""
    losses = response_losses(world, logits, torch.arange(len(logits)), beta=beta, baseline=baseline)
    return torch.stack([-torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in losses])


@pytest.fixture
def learner():
    world = world_of(0)
    logits = torch.randn(6, generator=seeded(7), dtype=torch.float64).requires_grad_()
    objective = rlhf_objective(logits.log_softmax(0), world.reward, world.ref_log_probs, beta=0.5)
    return world, logits, torch.autograd.grad(objective, logits)[0]


@pytest.mark.parametrize("baseline", [0.0, 3.0])
def test_expected_reinforce_gradient_is_the_exact_one_whatever_the_baseline(learner, baseline):
    world, logits, exact = learner
    expected = logits.softmax(0) @ gradient_of_each_response(world, logits, beta=0.5, baseline=baseline)
    torch.testing.assert_close(expected.detach(), exact)


def test_mean_of_many_sampled_gradients_agrees_with_the_exact_one_within_its_own_interval(learner):
    """100,000 samples: the interval is a hundredth of the gradient; half the KL weight is detected."""
    world, logits, exact = learner
    generator = seeded()
    responses = torch.multinomial(logits.detach().softmax(0), 100_000, replacement=True, generator=generator)
    assert deviations(gradient_of_each_response(world, logits, beta=0.5)[responses], exact).abs().max() < 4
    assert deviations(gradient_of_each_response(world, logits, beta=0.25)[responses], exact).abs().max() > 10


def test_mean_reward_as_baseline_lowers_the_variance(learner):
    world, logits, _ = learner
    world = replace(world, reward=world.reward + 10)
    policy = logits.detach().softmax(0)
    objective = rlhf_objective(policy.log(), world.reward, world.ref_log_probs, beta=0.5).item()
    plain = policy @ gradient_of_each_response(world, logits, beta=0.5).square()
    reduced = policy @ gradient_of_each_response(world, logits, beta=0.5, baseline=objective).square()
    assert reduced.sum() < plain.sum() / 10
