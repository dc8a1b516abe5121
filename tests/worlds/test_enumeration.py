import pytest
import torch
from tensors import seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.policy_gradient import discounted_returns
from dpo_notes.worlds.kitchen.enumeration import episode_logps, every_episode, follow, weighted_scores
from dpo_notes.worlds.kitchen.episodes import episode_losses, sample_episodes
from dpo_notes.worlds.kitchen.gridworld import DISCOUNT, action_values, optimal_values, read_map

UP, RIGHT, DOWN, LEFT = range(4)
STEPS = 5


@pytest.fixture(scope="module")
def corridor():
    return read_map("TCBM\n....")


@pytest.fixture(scope="module")
def logits(corridor):
    generator = seeded()
    return torch.randn(corridor.rewards.shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def episodes(corridor):
    return every_episode(corridor, steps=STEPS)


def test_a_walk_earns_what_the_map_says_and_stops_at_the_end(corridor):
    """Right over the broom to the meat: -1, 100, and then nothing. Left into the tub: -10."""
    walks = follow(corridor, torch.tensor([[RIGHT, RIGHT, DOWN], [LEFT, RIGHT, RIGHT], [DOWN, DOWN, UP]]))
    assert walks.rewards.tolist() == [[-1, 100, 0], [-10, 0, 0], [0, 0, 0]]
    assert walks.mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert walks.states[2].tolist() == [1, 5, 5] and walks.finished.tolist() == [True, True, False]


def test_an_unknown_action_is_refused(corridor):
    with pytest.raises(InputError, match="below 4"):
        follow(corridor, torch.tensor([[RIGHT, 4]]))


def test_episodes_of_two_steps_counted_by_hand():
    """In CM: right ends at once; after one of three bumps all four moves follow: 1 + 3 * 4."""
    episodes = every_episode(read_map("CM"), steps=2)
    assert len(episodes.actions) == 13
    assert sorted(episodes.mask.sum(dim=1).tolist()) == [1] + [2] * 12


@pytest.mark.parametrize("steps", [0, 9])
def test_too_few_or_too_many_steps_are_refused(corridor, steps):
    with pytest.raises(InputError, match="steps"):
        every_episode(corridor, steps=steps)


def test_no_episode_is_missing_and_none_is_there_twice(corridor, logits, episodes):
    assert episode_logps(logits, episodes).exp().sum().item() == pytest.approx(1, abs=1e-12)
    played = torch.where(episodes.mask, episodes.actions, -1)
    assert len(played.unique(dim=0)) == len(played)


def test_frequencies_of_sampled_episodes_are_their_probabilities(corridor, logits, episodes):
    n = 4000
    sampled = sample_episodes(corridor, logits, n_episodes=n, generator=seeded(1), max_steps=STEPS)
    likeliest = episode_logps(logits, episodes).argmax()
    p = episode_logps(logits, episodes)[likeliest].exp().item()
    mask = episodes.mask[likeliest]
    same = (sampled.mask == mask) & ((sampled.actions == episodes.actions[likeliest]) | ~mask)
    assert same.all(dim=1).double().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / n) ** 0.5)


def test_expected_return_over_all_episodes_is_that_of_backward_sweeps(corridor, logits, episodes):
    values = torch.zeros(len(logits), dtype=torch.float64)
    for _ in range(STEPS):
        values = (logits.softmax(dim=1) * action_values(corridor, values)).sum(dim=1)
    returns = discounted_returns(episodes.rewards, episodes.mask, discount=DISCOUNT)[:, 0]
    assert (episode_logps(logits, episodes).exp() @ returns).item() == pytest.approx(values[corridor.start].item())


def test_best_episode_has_the_optimal_value(corridor, episodes):
    best = discounted_returns(episodes.rewards, episodes.mask, discount=DISCOUNT)[:, 0].max()
    assert best.item() == pytest.approx(optimal_values(corridor)[corridor.start].item()) == pytest.approx(89)


def test_score_of_an_episode_is_the_gradient_of_its_log_probability(logits, episodes):
    scores = weighted_scores(logits, episodes, torch.ones_like(episodes.rewards))
    for number in range(0, len(scores), 97):
        leaf = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(episode_logps(leaf, episodes)[number], leaf)
        torch.testing.assert_close(scores[number], gradient)


def test_weighted_by_discounted_returns_they_average_to_minus_the_gradient_of_the_loss(corridor, logits):
    played = sample_episodes(corridor, logits, n_episodes=50, generator=seeded(2))
    baseline = torch.arange(len(logits)).double()
    returns = discounted_returns(played.rewards, played.mask, discount=DISCOUNT)
    weights = DISCOUNT ** torch.arange(returns.shape[1], dtype=torch.float64) * (returns - baseline[played.states])
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(episode_losses(leaf, played, baseline).mean(), leaf)
    torch.testing.assert_close(weighted_scores(logits, played, weights).mean(dim=0), -gradient, atol=1e-12, rtol=1e-12)


def test_weights_of_another_shape_are_refused(logits, episodes):
    with pytest.raises(InputError, match="shapes differ"):
        weighted_scores(logits, episodes, torch.ones(len(episodes.rewards), 1, dtype=torch.float64))
