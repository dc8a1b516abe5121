"""The result of supervised fine-tuning on the chosen: by hand, by counting, by training, and at its limits."""

import math

import pytest
import torch
from intervals import deviations
from tensors import seeded

from dpo_notes.maths.best_of_n import best_of_n_kl_bound, best_of_n_policy
from dpo_notes.maths.bradley_terry import sample_preferences
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.filtering import chosen_policy, filtering_rounds
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.worlds.finite.world import FiniteWorld, minimise, population, random_world

FAR_APART = 1e4


def world_of(seed: int, n_responses: int = 7, reward_std: float = 1.0) -> FiniteWorld:
    return random_world(n_responses, generator=seeded(seed), reward_std=reward_std)


def close(log_probs, other, atol=1e-12):
    torch.testing.assert_close(log_probs.exp(), other.exp(), rtol=0, atol=atol)


def test_two_responses_by_hand():
    """pi_ref = (1/4, 3/4), P(0 over 1) = 3/4. Chosen is 0: 2 * 1/4 * (1/4 * 1/2 + 3/4 * 3/4) = 1/2 * 11/16 = 11/32."""
    world = FiniteWorld(torch.tensor([3.0, 1.0]).double().log(), torch.tensor([0.25, 0.75]).double().log())
    close(chosen_policy(world.reward, world.ref_log_probs), torch.tensor([11 / 32, 21 / 32]).double().log())


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_share_of_each_response_among_the_chosen_of_all_comparisons(seed):
    world = world_of(seed)
    data = population(world)
    shares = torch.zeros(7, dtype=torch.float64).index_add(0, data.chosen, data.weights)
    close(chosen_policy(world.reward, world.ref_log_probs), shares.log())


def test_it_is_what_imitating_the_chosen_converges_to():
    world = world_of(0)
    data = population(world)
    trained = minimise(lambda logits: -data.weights @ logits.log_softmax(0)[data.chosen], world.ref_log_probs)
    close(trained.log_softmax(0), chosen_policy(world.reward, world.ref_log_probs), atol=1e-7)


def test_it_is_the_limit_of_sampled_comparisons():
    world, generator, n = world_of(1, n_responses=4), seeded(), 50_000
    drawn = torch.multinomial(world.ref_log_probs.exp(), 2 * n, replacement=True, generator=generator).view(n, 2)
    chosen = sample_preferences(world.reward, drawn, generator=generator)[:, 0]
    seen = torch.nn.functional.one_hot(chosen, 4).double()
    assert deviations(seen, chosen_policy(world.reward, world.ref_log_probs).exp()).abs().max() < 4


def test_equal_rewards_choose_nothing_and_rewards_far_apart_are_best_of_two():
    world = world_of(2)
    close(chosen_policy(torch.full_like(world.reward, 3.0), world.ref_log_probs), world.ref_log_probs)
    best_of_two = best_of_n_policy(world.reward, world.ref_log_probs, n=2)
    close(chosen_policy(FAR_APART * world.reward, world.ref_log_probs), best_of_two)


@pytest.mark.parametrize("reward_std", [0.1, 1.0, 10.0, 1000.0])
def test_no_probability_doubles_none_falls_below_its_square_and_the_kl_stays_below_best_of_two(reward_std):
    for seed in range(20):
        world = world_of(seed, reward_std=reward_std)
        policy, p = chosen_policy(world.reward, world.ref_log_probs), world.ref_log_probs.exp()
        factor = (policy - world.ref_log_probs).exp()
        assert (factor <= 2 - p + 1e-12).all() and (factor >= p - 1e-12).all()
        assert 0 <= kl_divergence(policy, world.ref_log_probs) < best_of_n_kl_bound(2)


def test_a_batch_is_its_worlds_one_by_one():
    worlds = [world_of(seed) for seed in range(3)]
    reward, reference = (torch.stack([getattr(w, name) for w in worlds]) for name in ("reward", "ref_log_probs"))
    one_by_one = torch.stack([filtering_rounds(w.reward, w.ref_log_probs, rounds=2) for w in worlds], dim=1)
    close(filtering_rounds(reward, reference, rounds=2), one_by_one)


def test_rounds_begin_at_the_reference_and_filter_what_the_last_one_left():
    world = world_of(3)
    rounds = filtering_rounds(world.reward, world.ref_log_probs, rounds=2)
    close(rounds[0], world.ref_log_probs)
    close(rounds[1], chosen_policy(world.reward, world.ref_log_probs))
    close(rounds[2], chosen_policy(world.reward, rounds[1]))


def test_k_rounds_with_rewards_far_apart_are_best_of_two_to_the_k():
    """Best of two of two bests of two is best of four."""
    world = world_of(4)
    rounds = filtering_rounds(FAR_APART * world.reward, world.ref_log_probs, rounds=5)
    for k, policy in enumerate(rounds):
        close(policy, best_of_n_policy(world.reward, world.ref_log_probs, n=2**k))


def test_the_reward_rises_round_after_round_towards_the_highest():
    world = world_of(5)
    rounds = filtering_rounds(world.reward, world.ref_log_probs, rounds=60)
    means = rounds.exp() @ world.reward
    assert (means.diff() > -1e-12).all() and means[-1] == pytest.approx(world.reward.max().item(), abs=1e-6)


@pytest.mark.parametrize("rounds", [-1, 1.0, True, None])
def test_rounds_that_cannot_be_counted_are_refused(rounds, types_unchecked):
    with pytest.raises(InputError, match="^rounds is .*; expected a whole number of at least 0$"):
        filtering_rounds(torch.zeros(2), torch.full((2,), -math.log(2)), rounds=rounds)


def test_logits_and_other_shapes_are_refused(types_unchecked):
    with pytest.raises(InputError, match="ref_log_probs: .*expected 1"):
        chosen_policy(torch.zeros(2), torch.zeros(2))
    with pytest.raises(InputError, match="shapes differ"):
        chosen_policy(torch.zeros(3), torch.full((2,), -math.log(2)))
