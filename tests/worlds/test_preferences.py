"""Policies from any preferences: Bradley-Terry's, noisy ones, and circles."""

from functools import partial

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.loss_family import ipo_loss, robust_loss
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.finite.preferences import (
    comparison_loss,
    comparisons,
    corrected,
    cycle,
    fit_policy,
    flipped,
    has_finite_fit,
    win_rates,
)
from dpo_notes.worlds.finite.world import fit_dpo, population, preference_matrix, random_world

BETA = 0.7


@pytest.fixture
def world():
    return random_world(4, generator=seeded(1))


def any_preferences(n, seed=0):
    """A matrix that no reward explains."""
    upper = torch.rand(n, n, generator=seeded(seed), dtype=torch.float64).triu(1)
    return upper + (1 - upper.T).tril(-1) + torch.eye(n, dtype=torch.float64) / 2


def test_of_bradley_terry_preferences_they_are_the_population_and_its_fit(world):
    data = comparisons(preference_matrix(world.reward), world.ref_log_probs.exp())
    torch.testing.assert_close(data.weights, population(world).weights)
    fitted = fit_policy(data, world.ref_log_probs, beta=BETA)
    torch.testing.assert_close(fitted, fit_dpo(world, beta=BETA), rtol=0, atol=1e-6)


def test_dpo_keeps_the_win_rates_of_any_preferences(world):
    preferences, draws = any_preferences(4), world.ref_log_probs.exp()
    fitted = fit_policy(comparisons(preferences, draws), world.ref_log_probs, beta=BETA)
    implied = preference_matrix(BETA * (fitted - world.ref_log_probs))
    torch.testing.assert_close(win_rates(implied, draws), win_rates(preferences, draws), rtol=0, atol=1e-7)


def test_ipo_ends_at_the_optimum_with_the_win_rate_as_reward(world):
    preferences, draws = any_preferences(4), world.ref_log_probs.exp()
    fitted = fit_policy(comparisons(preferences, draws), world.ref_log_probs, beta=BETA, loss_fn=ipo_loss)
    best = optimal_policy(win_rates(preferences, draws), world.ref_log_probs, beta=BETA)
    torch.testing.assert_close(fitted, best, rtol=0, atol=1e-7)


def test_a_fair_circle_teaches_nothing():
    reference = torch.zeros(3, dtype=torch.float64).log_softmax(0)
    data = comparisons(cycle(0.9), reference.exp())
    assert comparison_loss(data, torch.zeros(3, dtype=torch.float64), beta=BETA).item() == pytest.approx(
        0.693147, abs=1e-6
    )
    torch.testing.assert_close(fit_policy(data, reference, beta=BETA), reference)


def test_in_a_circle_each_beats_the_next_by_hand():
    assert cycle(0.8).tolist() == [
        [0.5, 0.8, pytest.approx(0.2)],
        [pytest.approx(0.2), 0.5, 0.8],
        [0.8, pytest.approx(0.2), 0.5],
    ]


def test_robust_dpo_sees_through_flipped_labels_and_dpo_does_not(world):
    draws = world.ref_log_probs.exp()
    noisy = comparisons(flipped(preference_matrix(world.reward), flips=0.2), draws)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=BETA)
    robust = fit_policy(noisy, world.ref_log_probs, beta=BETA, loss_fn=partial(robust_loss, label_smoothing=0.2))
    torch.testing.assert_close(robust, best, rtol=0, atol=1e-5)
    assert (fit_policy(noisy, world.ref_log_probs, beta=BETA) - best).abs().max() > 0.1


def test_corrected_takes_flips_back():
    preferences = any_preferences(5)
    torch.testing.assert_close(corrected(flipped(preferences, flips=0.3), flips=0.3), preferences)


def test_a_finite_fit_exists_exactly_where_no_group_wins_always():
    draws = torch.full((3,), 1 / 3, dtype=torch.float64)
    first_always = doubles([0.5, 1, 1], [0, 0.5, 0.7], [0, 0.3, 0.5])
    one_loss = first_always.clone()
    one_loss[0, 2], one_loss[2, 0] = 0.8, 0.2
    assert not has_finite_fit(first_always, draws)
    assert has_finite_fit(one_loss, draws)
    assert has_finite_fit(corrected(one_loss, flips=0.05), draws)  # one pair more than certain, the other holds
    assert not has_finite_fit(corrected(one_loss, flips=0.2), draws)


def test_a_response_that_is_never_compared_keeps_its_logit(world):
    draws = world.ref_log_probs.exp() * torch.tensor([1.0, 1, 1, 0])
    fitted = fit_policy(comparisons(any_preferences(4), draws / draws.sum()), world.ref_log_probs, beta=BETA)
    start = world.ref_log_probs
    # The gradient of the others sums to 0, so the mean of their logits stays, and the last one's with it.
    assert (fitted[3] - fitted[:3].mean()).item() == pytest.approx((start[3] - start[:3].mean()).item(), abs=1e-9)


def test_preferences_that_do_not_sum_to_one_are_refused():
    with pytest.raises(InputError, match="sum to 1"):
        comparisons(torch.full((2, 2), 0.6, dtype=torch.float64), doubles(0.5, 0.5))
