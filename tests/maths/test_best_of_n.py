"""Best-of-n against everything that can be drawn from a tiny set, and against its bound."""

import math
from itertools import combinations, product

import pytest
import torch
from intervals import deviations
from tensors import doubles, seeded

from dpo_notes.maths.best_of_n import best_of_n_kl_bound, best_of_n_policy, best_of_n_weights
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence

REWARDS = doubles(1.0, 0.0, 1.0, 3.0, 0.0)  # two ties and a best one
REFERENCE = doubles(0.1, 0.3, 0.2, 0.15, 0.25).log()


def kept(rewards: torch.Tensor, draws: tuple[int, ...]) -> list[int]:
    """The draws that have the highest reward, a response as often as it was drawn."""
    highest = max(rewards[draw].item() for draw in draws)
    return [draw for draw in draws if rewards[draw].item() == highest]


def by_enumeration(n: int) -> torch.Tensor:
    """pi_bon(y): the sum over all 5^n lists of draws of their probability, shared among the draws that tie for best."""
    probabilities = torch.zeros(len(REWARDS), dtype=torch.float64)
    for draws in product(range(len(REWARDS)), repeat=n):
        best = kept(REWARDS, draws)
        for draw in best:
            probabilities[draw] += REFERENCE[list(draws)].sum().exp() / len(best)
    return probabilities


def test_best_of_2_of_two_responses_by_hand():
    """Probabilities 1/4 (better) and 3/4: the worse one is kept only if drawn twice, 9/16; else the better, 7/16."""
    reference = doubles(0.25, 0.75).log()
    kept = best_of_n_policy(doubles(1.0, 0.0), reference, n=2)
    torch.testing.assert_close(kept.exp(), doubles(7 / 16, 9 / 16))


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_policy_is_what_enumerating_all_draws_gives_ties_and_all(n):
    torch.testing.assert_close(best_of_n_policy(REWARDS, REFERENCE, n=n).exp(), by_enumeration(n))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_its_divergence_is_the_sum_over_different_rewards(n):
    """KL = sum over rewards r of (F^n - F_^n) log((F^n - F_^n) / p(r)): within a tie the shares are the reference's."""
    expected, below = 0.0, 0.0
    for value in (0.0, 1.0, 3.0):
        p = REFERENCE.exp()[value == REWARDS].sum().item()
        share = (below + p) ** n - below**n
        expected += share * math.log(share / p)
        below += p
    policy = best_of_n_policy(REWARDS, REFERENCE, n=n)
    assert kl_divergence(policy, REFERENCE).item() == pytest.approx(expected, rel=1e-12)
    assert expected < best_of_n_kl_bound(n)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_without_ties_among_ever_more_unlikely_responses_the_divergence_rises_to_the_bound(n):
    kls = []
    for size in (10, 100, 10_000):
        rewards = torch.randperm(size, generator=seeded()).double()
        reference = torch.full((size,), -math.log(size), dtype=torch.float64)
        kls.append(kl_divergence(best_of_n_policy(rewards, reference, n=n), reference).item())
    assert kls == sorted(kls)
    assert kls[-1] < best_of_n_kl_bound(n)
    assert kls[-1] == pytest.approx(best_of_n_kl_bound(n), rel=1e-3)


def test_the_bound_by_hand():
    assert best_of_n_kl_bound(1) == 0
    assert best_of_n_kl_bound(2) == pytest.approx(math.log(2) - 0.5)
    assert best_of_n_kl_bound(16) == pytest.approx(1.8351, abs=1e-4)


def test_the_bound_is_the_divergence_of_the_largest_of_n_uniform_numbers():
    """Density n u^(n-1) against 1 on (0, 1): the integral of n u^(n-1) log(n u^(n-1)), as a sum over a fine grid."""
    u = (torch.arange(1_000_000, dtype=torch.float64) + 0.5) / 1_000_000
    density = 5 * u**4
    assert (density * density.log()).mean().item() == pytest.approx(best_of_n_kl_bound(5), rel=1e-8)


def test_best_of_1_and_rewards_that_all_tie_leave_the_reference():
    torch.testing.assert_close(best_of_n_policy(REWARDS, REFERENCE, n=1), REFERENCE)
    torch.testing.assert_close(best_of_n_policy(torch.ones_like(REWARDS), REFERENCE, n=7), REFERENCE)


def test_only_the_order_of_the_rewards_counts_and_a_batch_is_its_rows():
    stretched = torch.stack([REWARDS, (2 * REWARDS).exp(), -REWARDS])
    policies = best_of_n_policy(stretched, REFERENCE.expand(3, -1), n=4)
    torch.testing.assert_close(policies[0], policies[1])
    torch.testing.assert_close(policies[2], best_of_n_policy(-REWARDS, REFERENCE, n=4))


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_weights_are_the_shares_of_all_choices_of_n_samples_in_which_each_is_kept(n):
    rewards = doubles(1.0, 0.0, 1.0, 3.0, 0.0, 1.0)
    shares = torch.zeros(6, dtype=torch.float64)
    choices = list(combinations(range(6), n))
    for draws in choices:
        best = kept(rewards, draws)
        shares[best] += 1 / len(best) / len(choices)
    torch.testing.assert_close(best_of_n_weights(rewards, n=n), shares)


def test_weights_estimate_the_mean_reward_of_best_of_n_without_bias_where_the_plug_in_falls_short():
    """20,000 pools of 6 samples each: the weighted mean of the rewards against pi_bon's own."""
    n, generator = 4, seeded()
    truth = (by_enumeration(n) * REWARDS).sum()
    drawn = torch.multinomial(REFERENCE.exp(), 6 * 20_000, replacement=True, generator=generator).view(-1, 6)
    pools = REWARDS[drawn]
    unbiased = (best_of_n_weights(pools, n=n) * pools).sum(-1)
    uniform = torch.full_like(pools, -math.log(6))
    plug_in = (best_of_n_policy(pools, uniform, n=n).exp() * pools).sum(-1)
    assert abs(deviations(unbiased, truth)) < 4
    assert deviations(plug_in, truth) < -10


def test_float32_keeps_its_digits_with_many_draws():
    rewards = torch.randn(3, 200, generator=seeded(1))
    reference = torch.randn(3, 200, generator=seeded(2)).log_softmax(-1)
    single, double = (best_of_n_policy(rewards.to(d), reference.to(d), n=64) for d in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double().exp(), double.exp(), rtol=1e-3, atol=1e-7)
    assert torch.logsumexp(double, dim=-1).abs().max() < 1e-6


@pytest.mark.parametrize("n", [0, -1, True])
def test_n_that_is_no_whole_number_of_at_least_1_is_refused(n):
    for call in (
        lambda: best_of_n_kl_bound(n),
        lambda: best_of_n_policy(REWARDS, REFERENCE, n=n),
        lambda: best_of_n_weights(REWARDS, n=n),
    ):
        with pytest.raises(InputError, match="whole number of at least 1"):
            call()


def test_more_draws_than_samples_are_refused():
    with pytest.raises(InputError, match="at most 5"):
        best_of_n_weights(REWARDS, n=6)


def test_logits_in_place_of_log_probabilities_are_refused():
    with pytest.raises(InputError, match="sum to"):
        best_of_n_policy(REWARDS, REFERENCE + 1, n=2)
