"""The expected answers of notebook 06 computed in a second way; test_exercises.py tests their mistakes."""

import pytest
import torch

from dpo_notes.lessons.bradley_terry.explorers import BUDGETS, ErrorBars
from dpo_notes.lessons.bradley_terry.tournament import chain, game_counts
from dpo_notes.maths.bradley_terry import elo_from_reward, fit_bradley_terry, preference_nll
from dpo_notes.maths.reward_errors import margin_errors, reward_covariance
from dpo_notes.teaching.checking import exercise

pytestmark = pytest.mark.notebooks


def test_the_chatbots_probability_is_elos_promise():
    nats, probability = exercise("06.2").expected
    assert elo_from_reward(torch.tensor(nats, dtype=torch.float64)).item() == pytest.approx(150)
    assert probability == pytest.approx(1 / (1 + 10 ** (-150 / 400)))


def test_the_pull_is_autograds():
    rewards = torch.tensor([-1.0, 1.0], requires_grad=True)
    preference_nll(rewards[0], rewards[1]).backward()
    assert rewards.grad.tolist() == pytest.approx(exercise("06.3").expected)


def test_thirty_of_forty_is_what_the_package_fits():
    fitted = fit_bradley_terry(torch.tensor([[0, 1]] * 30 + [[1, 0]] * 10), 2)
    games = torch.tensor([[0.0, 40.0], [40.0, 0.0]], dtype=torch.float64)
    found = [(fitted[0] - fitted[1]).item(), margin_errors(reward_covariance(fitted, games))[0, 1].item()]
    assert found == pytest.approx(exercise("06.4").expected)


def test_the_way_by_a_third_is_worth_fifty_direct_comparisons():
    equal = torch.zeros(3, dtype=torch.float64)
    error, direct = exercise("06.6").expected
    by_third = margin_errors(reward_covariance(equal, game_counts(chain(3).repeat(100, 1), 3)))
    assert by_third[0, 2].item() == pytest.approx(error)
    alone = margin_errors(reward_covariance(equal[:2], game_counts(chain(2).repeat(direct, 1), 2)))
    assert alone[0, 1].item() == pytest.approx(error)


def test_the_readings_of_the_tournament_are_what_the_explorer_says():
    explorer = ErrorBars()
    designs = ("everyone meets everyone", "a chain of neighbours")
    found = [min(b for b in BUDGETS if explorer.expected_error(design, b) <= 0.25) for design in designs]
    assert found == exercise("06.7").expected


def test_the_circle_and_the_fourth_are_what_the_package_fits():
    circle, fourth = [(0, 1), (1, 2), (2, 0)], [(3, 0), (3, 1), (3, 2)]
    losses = []
    for pairs, n_items in ((circle, 3), (circle + fourth, 4)):
        rows = [pair for pair in pairs for _ in range(4)] + [pair[::-1] for pair in pairs]
        choices = torch.tensor(rows)
        losses.append(preference_nll(*fit_bradley_terry(choices, n_items)[choices].unbind(1)).mean().item())
    assert losses == pytest.approx([exercise("06.8").expected[0], exercise("06.8").expected[2]])
