"""Bradley–Terry: preferences from rewards, and rewards from preferences."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tensors import doubles, seeded

from dpo_notes.maths.bradley_terry import (
    bayes_accuracy,
    elo_from_reward,
    fit_bradley_terry,
    margin_correlation,
    preference_entropy,
    preference_information,
    preference_nll,
    preference_probability,
    sample_preferences,
    win_counts,
)
from dpo_notes.maths.errors import InputError

REWARDS = doubles(0.0, 1.0, -0.5, 2.0, 0.3)


def all_pairs(n_items: int, times: int) -> torch.Tensor:
    """Each two items met `times` times, the smaller index first."""
    return torch.combinations(torch.arange(n_items)).repeat(times, 1)


def test_a_reward_of_log_3_more_is_preferred_three_times_in_four():
    """e^(log 3) / (e^(log 3) + e^0) = 3 / (3 + 1) = 0.75, and -log 0.75 = 0.287682…"""
    chosen, rejected = doubles(math.log(3)), doubles(0)
    torch.testing.assert_close(preference_probability(chosen, rejected), doubles(0.75))
    torch.testing.assert_close(preference_nll(chosen, rejected), doubles(0.2876820724517809))


def test_probability_is_the_share_of_the_exponentiated_reward():
    chosen, rejected = REWARDS, REWARDS.flip(0)
    share = chosen.exp() / (chosen.exp() + rejected.exp())
    torch.testing.assert_close(preference_probability(chosen, rejected), share)
    torch.testing.assert_close(preference_nll(chosen, rejected), -share.log())


def test_nll_is_binary_cross_entropy_on_the_margin():
    oracle = torch.nn.functional.binary_cross_entropy_with_logits(
        REWARDS - REWARDS.flip(0), torch.ones(5, dtype=torch.float64), reduction="none"
    )
    torch.testing.assert_close(preference_nll(REWARDS, REWARDS.flip(0)), oracle)


def test_only_the_difference_of_rewards_matters():
    shifted = preference_nll(REWARDS + 7, REWARDS.flip(0) + 7)
    torch.testing.assert_close(preference_nll(REWARDS, REWARDS.flip(0)), shifted)


def test_the_gradient_is_the_probability_of_the_wrong_order():
    """d/dr_w of -log sigma(r_w - r_l) is -sigma(r_l - r_w)."""
    chosen = REWARDS.clone().requires_grad_()
    rejected = REWARDS.flip(0).clone().requires_grad_()
    preference_nll(chosen, rejected).sum().backward()
    wrong = preference_probability(rejected, chosen).detach()
    torch.testing.assert_close(chosen.grad, -wrong)
    torch.testing.assert_close(rejected.grad, wrong)


def test_nll_and_its_gradient_stay_exact_at_margins_of_ten_thousand_in_float32():
    chosen = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = preference_nll(chosen, torch.zeros(2))
    loss.sum().backward()
    assert loss.tolist() == [0.0, 1e4]
    assert chosen.grad.tolist() == [0.0, -1.0]


def test_nll_passes_gradcheck():
    inputs = (REWARDS.clone().requires_grad_(), REWARDS.flip(0).clone().requires_grad_())
    assert torch.autograd.gradcheck(preference_nll, inputs)
    assert torch.autograd.gradgradcheck(preference_nll, inputs)


def test_the_entropy_of_a_preference_of_three_quarters():
    """-3/4 log 3/4 - 1/4 log 1/4 = 0.5623351446…; equal rewards leave log 2."""
    reward = doubles(math.log(3), 0, 5)
    torch.testing.assert_close(
        preference_entropy(reward, doubles(0, math.log(3), 5)),
        doubles(0.5623351446188083, 0.5623351446188083, math.log(2)),
    )


def test_entropy_is_that_of_a_coin_and_the_least_expected_loss():
    """Against torch's Bernoulli; and the loss of other rewards, in expectation, exceeds it by the divergence."""
    truth, other = torch.distributions.Bernoulli(logits=REWARDS), torch.distributions.Bernoulli(logits=0.3 * REWARDS)
    zero = torch.zeros_like(REWARDS)
    torch.testing.assert_close(preference_entropy(REWARDS, zero), truth.entropy())
    expected = truth.probs * preference_nll(0.3 * REWARDS, zero) + (1 - truth.probs) * preference_nll(
        zero, 0.3 * REWARDS
    )
    excess = torch.distributions.kl_divergence(truth, other)
    torch.testing.assert_close(expected, preference_entropy(REWARDS, zero) + excess)


def test_entropy_of_certain_preferences_is_0_and_not_nan():
    far = torch.tensor([1e4, -1e4])
    assert preference_entropy(far, torch.zeros(2)).tolist() == [0, 0]


def test_margin_correlation_is_pearsons_with_every_pair_taken_both_ways():
    margins, others = REWARDS, REWARDS.flip(0) ** 2
    both = torch.stack([torch.cat([margins, -margins]), torch.cat([others, -others])])
    torch.testing.assert_close(margin_correlation(margins, others), torch.corrcoef(both)[0, 1])
    torch.testing.assert_close(margin_correlation(margins, 3 * margins), doubles(1).squeeze())
    flip = doubles(1, -1, 1, 1, -1)
    torch.testing.assert_close(margin_correlation(flip * margins, flip * others), margin_correlation(margins, others))


def test_odds_of_ten_to_one_are_400_elo_points():
    """Elo: p = 1 / (1 + 10^(-400 / 400)) = 10 / 11, the probability at a difference of log 10 nats."""
    assert elo_from_reward(doubles(math.log(10))).item() == pytest.approx(400)
    assert preference_probability(doubles(math.log(10)), doubles(0)).item() == pytest.approx(10 / 11)


def test_sampled_preferences_are_the_given_pairs_in_one_order_or_the_other():
    pairs = all_pairs(5, times=20)
    drawn = sample_preferences(REWARDS, pairs, generator=seeded())
    assert torch.equal(drawn.sort(dim=1).values, pairs)


def test_sampled_preferences_follow_the_bradley_terry_probability():
    """100,000 draws: five standard errors are 5 * sqrt(0.25 / 1e5) = 0.0079 at most."""
    pairs = torch.tensor([[3, 0]]).repeat(100_000, 1)
    drawn = sample_preferences(REWARDS, pairs, generator=seeded())
    first_won = (drawn[:, 0] == 3).double().mean().item()
    assert first_won == pytest.approx(1 / (1 + math.exp(-2.0)), abs=0.0079)


def test_sampling_depends_on_the_generator_alone():
    pairs = all_pairs(5, times=20)
    draws = [sample_preferences(REWARDS, pairs, generator=seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_two_items_have_a_closed_form():
    """Chosen 6 and 2 times: p = 6/8, r_0 - r_1 = log(6 / 2) = log 3, half of it on each side of 0."""
    pairs = torch.tensor([[0, 1]] * 6 + [[1, 0]] * 2)
    torch.testing.assert_close(fit_bradley_terry(pairs, 2), doubles(math.log(3) / 2, -math.log(3) / 2))


def test_a_million_wins_against_one_are_still_fitted():
    pairs = torch.cat([torch.tensor([[0, 1]]).expand(1_000_000, 2), torch.tensor([[1, 0]])])
    rewards = fit_bradley_terry(pairs, 2)
    assert (rewards[0] - rewards[1]).item() == pytest.approx(math.log(1e6), rel=1e-9)


def test_very_uneven_tournaments_settle_where_full_newton_steps_run_away():
    """Counts from 1 to 815,650: here undamped steps end at rewards of 1e14. The gradient must vanish instead."""
    wins = torch.zeros(6, 6, dtype=torch.long)
    counts = {(0, 1): 1, (0, 5): 79, (1, 2): 1, (1, 5): 2, (2, 0): 56364, (2, 1): 513, (2, 3): 4, (3, 1): 1}
    counts |= {(3, 4): 517470, (4, 1): 815650, (4, 3): 101910, (4, 5): 1, (5, 0): 1, (5, 1): 4077, (5, 2): 2}
    counts |= {(5, 3): 725, (5, 4): 12922}
    for (winner, loser), count in counts.items():
        wins[winner, loser] = count
    pairs = wins.nonzero().repeat_interleave(wins[wins > 0], dim=0)
    rewards = fit_bradley_terry(pairs, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(preference_nll(rewards[pairs[:, 0]], rewards[pairs[:, 1]]).sum(), rewards)
    assert gradient.abs().max() < 1e-6


def test_rock_paper_scissors_is_a_three_way_tie():
    torch.testing.assert_close(fit_bradley_terry(torch.tensor([[0, 1], [1, 2], [2, 0]]), 3), doubles(0, 0, 0))


def test_wins_are_counted_at_winner_and_loser():
    assert win_counts(torch.tensor([[0, 1], [0, 1], [2, 0]]), 3).tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_the_information_of_two_items_by_hand():
    """p = 3/4, 16 comparisons: 16 * 3/16 = 3 on the diagonal, -3 off it."""
    information = preference_information(doubles(math.log(3), 0), doubles([0, 16], [16, 0]))
    torch.testing.assert_close(information, doubles([3, -3], [-3, 3]))


def test_the_information_is_autograds_hessian_and_a_graphs_laplacian():
    drawn = sample_preferences(REWARDS, all_pairs(5, times=7), generator=seeded(7))
    games = win_counts(drawn, 5) + win_counts(drawn, 5).T
    information = preference_information(REWARDS, games)
    hessian = torch.autograd.functional.hessian(lambda r: preference_nll(*r[drawn].unbind(1)).sum(), REWARDS)
    torch.testing.assert_close(information, hessian)
    torch.testing.assert_close(information.sum(dim=1), torch.zeros(5, dtype=torch.float64))
    assert torch.linalg.eigvalsh(information)[1] > 0


@pytest.mark.parametrize("ridge", [0.0, 2.0])
def test_the_fit_is_a_logistic_regression_on_the_items_compared(ridge):
    """One row per comparison: +1 in the first item's column, -1 in the second's; scikit-learn's C is 1 / ridge."""
    generator = seeded(3)
    pairs = all_pairs(5, times=12)
    drawn = sample_preferences(REWARDS, pairs, generator=generator)
    rows = torch.zeros(len(pairs), 5, dtype=torch.float64)
    rows.scatter_(1, pairs[:, :1], 1.0).scatter_(1, pairs[:, 1:], -1.0)
    first_won = (drawn[:, 0] == pairs[:, 0]).numpy()
    model = LogisticRegression(C=1 / ridge if ridge else math.inf, fit_intercept=False, tol=1e-12, max_iter=1000)
    oracle = torch.from_numpy(model.fit(rows.numpy(), first_won).coef_[0])
    torch.testing.assert_close(
        fit_bradley_terry(drawn, 5, ridge=ridge), oracle - oracle.mean(), atol=1e-5, rtol=0, check_dtype=False
    )


@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_the_gradient_of_the_objective_vanishes_at_the_fit(ridge):
    generator = seeded(4)
    drawn = sample_preferences(REWARDS, all_pairs(5, times=30), generator=generator)
    rewards = fit_bradley_terry(drawn, 5, ridge=ridge).requires_grad_()
    loss = preference_nll(rewards[drawn[:, 0]], rewards[drawn[:, 1]]).sum() + ridge / 2 * rewards.square().sum()
    (gradient,) = torch.autograd.grad(loss, rewards)
    assert gradient.abs().max() < 1e-9
    assert abs(rewards.sum().item()) < 1e-12


def test_many_comparisons_recover_the_rewards_up_to_their_mean():
    """5,000 meetings of each two of five items: the standard error of a reward is about 0.015."""
    drawn = sample_preferences(REWARDS, all_pairs(5, times=5000), generator=seeded(5))
    torch.testing.assert_close(fit_bradley_terry(drawn, 5), REWARDS - REWARDS.mean(), atol=0.06, rtol=0)


def test_renaming_the_items_renames_the_rewards():
    drawn = sample_preferences(REWARDS, all_pairs(5, times=30), generator=seeded(6))
    new_name = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(fit_bradley_terry(new_name[drawn], 5)[new_name], fit_bradley_terry(drawn, 5))


def test_an_item_compared_with_itself_changes_nothing():
    pairs = torch.tensor([[0, 1], [0, 1], [1, 0]])
    torch.testing.assert_close(
        fit_bradley_terry(torch.cat([pairs, torch.tensor([[0, 0]])]), 2), fit_bradley_terry(pairs, 2)
    )


@pytest.mark.parametrize(
    ("pairs", "n_items", "losers", "winners"),
    [
        ([[0, 1], [1, 2], [2, 1]], 3, "1, 2", "0"),  # nobody beat 0
        ([[1, 0], [1, 2], [2, 1]], 3, "0", "1, 2"),  # 0 beat nobody
        ([[0, 1], [1, 0], [2, 3], [3, 2]], 4, "0, 1", "2, 3"),  # two groups that never met
        ([[0, 1], [1, 0]], 3, "0, 1", "2"),  # 2 was never compared
    ],
)
def test_separated_items_are_named(pairs, n_items, losers, winners):
    with pytest.raises(InputError, match=rf"no item of \{{{losers}\}} was ever chosen over an item of \{{{winners}\}}"):
        fit_bradley_terry(torch.tensor(pairs), n_items)


def test_a_chain_of_wins_that_closes_connects_all_items():
    """0 beat 1 beat 2 … beat 11 beat 0: by symmetry all rewards are equal."""
    items = torch.arange(12)
    torch.testing.assert_close(
        fit_bradley_terry(torch.stack([items, items.roll(-1)], dim=1), 12), torch.zeros(12, dtype=torch.float64)
    )


def test_of_many_separated_items_the_first_eight_are_named():
    with pytest.raises(InputError, match=r"\{1, 2, 3, 4, 5, 6, 7, 8, … 11 more\} was ever chosen over .* \{0\}"):
        fit_bradley_terry(torch.tensor([[0, 1]] + [[i, j] for i in range(1, 20) for j in range(1, 20)]), 20)


def test_a_ridge_makes_separated_items_finite():
    """Stationary point of one win: sigma(-2r) = ridge * r for rewards (r, -r, 0); an unseen item stays at 0."""
    rewards = fit_bradley_terry(torch.tensor([[0, 1]]), 3, ridge=0.1)
    r = rewards[0].item()
    assert 1 / (1 + math.exp(2 * r)) == pytest.approx(0.1 * r, abs=1e-10)
    torch.testing.assert_close(rewards, doubles(r, -r, 0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.tensor([[0, 2]]), 2), r"row 0 is \[0, 2\]; expected indices 0 to 1"),
        ((torch.tensor([[0, 1], [-1, 1]]), 2), r"row 1 is \[-1, 1\]"),
        ((torch.tensor([0, 1]), 2), r"shape \(2,\); expected integers, two per row"),
        ((torch.tensor([[0.0, 1.0]]), 2), "torch.float32"),
        ((torch.zeros(0, 2, dtype=torch.long), 0), "0 items"),
    ],
)
def test_wrong_pairs_are_refused(arguments, message, types_unchecked):
    with pytest.raises(InputError, match=message):
        fit_bradley_terry(*arguments)
    with pytest.raises(InputError, match=message):
        sample_preferences(torch.zeros(arguments[1]), arguments[0], generator=torch.Generator())


def test_a_ridge_that_is_lost_in_rounding_is_refused():
    with pytest.raises(InputError, match="did not settle in 200 steps with ridge 1e-100"):
        fit_bradley_terry(torch.tensor([[0, 1], [1, 2], [2, 3]] * 10), 4, ridge=1e-100)


@pytest.mark.parametrize("ridge", [-1.0, math.nan, math.inf])
def test_a_ridge_below_zero_or_not_finite_is_refused(ridge):
    with pytest.raises(InputError, match="ridge"):
        fit_bradley_terry(torch.tensor([[0, 1], [1, 0]]), 2, ridge=ridge)


@pytest.mark.parametrize("function", [preference_probability, preference_nll])
def test_rewards_that_would_broadcast_are_refused(function, types_unchecked):
    with pytest.raises(InputError, match="expected one shape"):
        function(torch.zeros(3, 1), torch.zeros(3))


def test_bayes_accuracy_by_hand():
    """Differences 0, log 3, -log 3: the likelier label comes with probability 1/2, 3/4, 3/4; mean 2/3."""
    chosen = doubles(1.0, 1 + math.log(3), 1 - math.log(3))
    rejected = torch.ones(3, dtype=torch.float64)
    assert bayes_accuracy(chosen, rejected) == pytest.approx(2 / 3)
    assert bayes_accuracy(rejected, chosen) == pytest.approx(2 / 3)  # who was chosen does not matter


def test_bayes_accuracy_is_a_half_without_differences_and_1_where_they_are_beyond_doubt():
    assert bayes_accuracy(torch.zeros(4), torch.zeros(4)) == 0.5
    assert bayes_accuracy(torch.full((4,), 100.0), torch.zeros(4)) == 1.0
