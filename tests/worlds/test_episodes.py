import math

import pytest
import torch
from intervals import deviations
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.kitchen.episodes import episode_losses, learn, sample_episodes
from dpo_notes.worlds.kitchen.gridworld import DISCOUNT, optimal_actions, optimal_values, policy_values, read_map

BATCHES, BATCH = 150, 200


@pytest.fixture(scope="module")
def kitchen():
    return read_map()


@pytest.fixture(scope="module")
def logits(kitchen):
    """A policy in the middle of learning: not uniform, far from certain."""
    generator = seeded(1)
    return torch.randn(kitchen.rewards.shape, generator=generator, dtype=torch.float64).mul(0.5).requires_grad_()


@pytest.fixture(scope="module")
def batches(kitchen, logits):
    generator = seeded(2)
    return [sample_episodes(kitchen, logits, n_episodes=BATCH, generator=generator) for _ in range(BATCHES)]


@pytest.fixture(scope="module")
def exact(kitchen, logits):
    return torch.autograd.grad(policy_values(kitchen, logits)[kitchen.start], logits)[0]


def sampled_gradients(logits, batches, baseline, discount=DISCOUNT):
    """One estimate of the gradient of V(start) for each batch of episodes."""
    losses = (episode_losses(logits, batch, baseline, discount=discount).mean() for batch in batches)
    return torch.stack([-torch.autograd.grad(loss, logits)[0] for loss in losses])


# Playing --------------------------------------------------------------------------------------------------------------


def test_an_episode_follows_the_tables_and_ends_once(kitchen, batches):
    episodes = batches[0]
    assert episodes.finished.all() and (episodes.states[:, 0] == kitchen.start).all()
    followed = kitchen.next_state[episodes.states, episodes.actions]
    assert (followed[:, :-1] == episodes.states[:, 1:]).all()
    assert (episodes.rewards == kitchen.rewards[episodes.states, episodes.actions]).all()
    assert (episodes.mask == ~kitchen.terminal[episodes.states]).all()
    last = episodes.mask.sum(dim=1) - 1
    ends = followed.gather(1, last[:, None])
    assert kitchen.terminal[ends].all() and (episodes.rewards[~episodes.mask] == 0).all()
    assert episodes.mask[:, -1].any()  # as long as the longest episode, and no longer


def test_episodes_that_are_cut_say_so():
    world = read_map("C....M")
    right = doubles(-torch.inf, 0.0, -torch.inf, -torch.inf).repeat(6, 1)
    generator = seeded()
    whole = sample_episodes(world, right, n_episodes=3, generator=generator)
    cut = sample_episodes(world, right, n_episodes=3, generator=generator, max_steps=4)
    assert whole.finished.all() and whole.rewards.tolist() == [[0, 0, 0, 0, 100]] * 3
    assert not cut.finished.any() and cut.mask.shape == (3, 4) and cut.mask.all()


def test_same_generator_state_same_episodes(kitchen, logits, batches):
    again = sample_episodes(kitchen, logits, n_episodes=BATCH, generator=seeded(2))
    assert torch.equal(again.actions, batches[0].actions) and torch.equal(again.states, batches[0].states)


def test_mean_return_of_episodes_is_the_value_of_the_policy(kitchen, logits, batches):
    powers = [DISCOUNT ** torch.arange(batch.rewards.shape[1]) for batch in batches]
    returns = torch.cat([batch.rewards @ power.double() for batch, power in zip(batches, powers, strict=True)])
    assert deviations(returns, policy_values(kitchen, logits)[kitchen.start].item()).abs() < 4


# Estimating -----------------------------------------------------------------------------------------------------------


def test_loss_of_one_lucky_step_by_hand():
    """Right with probability 1/2 eats the meat at once: -log(1/2) * 100."""
    world = read_map("CM")
    logits = doubles([-torch.inf, 0.0, -torch.inf, 0.0], [0.0] * 4)
    episodes = sample_episodes(world, logits, n_episodes=50, generator=seeded())
    losses = episode_losses(logits, episodes, torch.zeros(2, dtype=torch.float64))
    at_once = episodes.mask.sum(dim=1) == 1
    assert at_once.any() and not at_once.all()
    torch.testing.assert_close(losses[at_once], torch.full_like(losses[at_once], 100 * math.log(2)))


def test_sampled_gradient_agrees_with_the_exact_one_within_its_own_interval(kitchen, logits, batches, exact):
    """4 standard errors in each of 60 components; the interval is sharp: the gradient is 40 of them above 0, and a
    discount of 0.89 instead of 0.9, an error that still points uphill, is detected."""
    none = torch.zeros(len(logits), dtype=torch.float64)
    estimates = sampled_gradients(logits, batches, none)
    assert deviations(estimates, exact).abs().max() < 4
    assert deviations(estimates, 0.0).abs().max() > 40
    wrong = sampled_gradients(logits, batches, none, discount=0.89)
    assert torch.nn.functional.cosine_similarity(wrong.mean(0).flatten(), exact.flatten(), dim=0) > 0.99
    assert deviations(wrong, exact).abs().max() > 8


def test_a_baseline_changes_the_variance_and_not_the_mean(kitchen, logits, batches, exact):
    plain = sampled_gradients(logits, batches, torch.zeros(len(logits), dtype=torch.float64))
    with_values = sampled_gradients(logits, batches, policy_values(kitchen, logits).detach())
    assert deviations(with_values, exact).abs().max() < 4
    assert deviations(with_values - plain, 0.0).abs().max() < 4
    assert with_values.var(dim=0).sum() < 0.9 * plain.var(dim=0).sum()


# Learning -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline_rate", [0.0, 0.2])
def test_the_learnt_policy_reaches_the_optimum(kitchen, baseline_rate):
    generator = seeded()
    *_, learnt = learn(kitchen, generator=generator, updates=120, learning_rate=0.1, baseline_rate=baseline_rate)
    best = optimal_values(kitchen)[kitchen.start].item()
    assert policy_values(kitchen, learnt)[kitchen.start].item() > 0.98 * best
    state, best_actions = kitchen.start, optimal_actions(kitchen)
    while not kitchen.terminal[state]:
        action = learnt[state].argmax()
        assert best_actions[state, action]
        state = kitchen.next_state[state, action]


def test_learning_yields_copies_and_repeats_with_its_seed(kitchen):
    runs = [list(learn(kitchen, generator=seeded(3), updates=3)) for _ in range(2)]
    assert len(runs[0]) == 3 and not torch.equal(runs[0][0], runs[0][1])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@pytest.mark.parametrize("setting", [{"n_episodes": 0}, {"max_steps": 0}])
def test_nothing_to_play_is_refused(kitchen, logits, setting):
    settings = {"n_episodes": 1, "generator": torch.Generator()} | setting
    with pytest.raises(InputError, match=next(iter(setting))):
        sample_episodes(kitchen, logits, **settings)
