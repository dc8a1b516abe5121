"""KL, partition function and the optimal policy, where all responses can be counted."""

import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import implicit_reward, kl_divergence, log_partition, optimal_policy, rlhf_objective

BETAS = [0.1, 1.0, 7.0]


def random_log_probs(*shape: int, seed: int) -> torch.Tensor:
    generator = seeded(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(2).log_softmax(dim=-1)


@pytest.fixture
def reference() -> torch.Tensor:
    return random_log_probs(3, 8, seed=0)


@pytest.fixture
def reward() -> torch.Tensor:
    return torch.randn(3, 8, generator=seeded(1), dtype=torch.float64)


def logs(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities, dtype=torch.float64).log()


def test_two_responses_by_hand():
    """Reference (1/4, 3/4), rewards (log 9, 0), beta 1: weights 9/4 and 3/4, Z = 3, optimum (3/4, 1/4).

    KL = 3/4 log 3 + 1/4 log(1/3) = 1/2 log 3, expected reward 3/4 * 2 log 3, J = 3/2 log 3 - 1/2 log 3 = log 3 = log Z.
    """
    reference, reward = logs(0.25, 0.75), doubles(math.log(9), 0.0)
    best = optimal_policy(reward, reference, beta=1.0)
    torch.testing.assert_close(best, logs(0.75, 0.25))
    assert log_partition(reward, reference, beta=1.0).item() == pytest.approx(math.log(3))
    assert kl_divergence(best, reference).item() == pytest.approx(0.5 * math.log(3))
    assert rlhf_objective(best, reward, reference, beta=1.0).item() == pytest.approx(math.log(3))


def test_kl_equals_torch_distributions(reference):
    other = random_log_probs(3, 8, seed=2)
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=other), torch.distributions.Categorical(logits=reference)
    )
    torch.testing.assert_close(kl_divergence(other, reference), oracle)


def test_kl_is_zero_to_itself_positive_to_others_and_has_a_direction(reference):
    other = random_log_probs(3, 8, seed=2)
    torch.testing.assert_close(kl_divergence(reference, reference), torch.zeros(3, dtype=torch.float64))
    assert (kl_divergence(other, reference) > 0).all()
    assert not torch.allclose(kl_divergence(other, reference), kl_divergence(reference, other))


def test_kl_of_certainty_to_uniform_is_log_n():
    """1 * (log 1 - log 1/4) + three times 0 log 0 = log 4."""
    assert kl_divergence(logs(0, 1, 0, 0), logs(0.25, 0.25, 0.25, 0.25)).item() == pytest.approx(math.log(4))


def test_kl_is_infinite_where_q_excludes_what_p_allows():
    assert kl_divergence(logs(0.5, 0.5), logs(1, 0)).item() == math.inf


def test_zero_probability_on_both_sides_counts_nothing_and_spoils_no_gradient():
    """(1/2, 1/2, 0) to (1/4, 3/4, 0): 1/2 log 2 + 1/2 log(2/3) = 1/2 log(4/3)."""
    scores = torch.tensor([0.0, 0.0, -math.inf], dtype=torch.float64, requires_grad=True)
    others = torch.tensor([math.log(0.25), math.log(0.75), -math.inf], dtype=torch.float64, requires_grad=True)
    kl = kl_divergence(scores.log_softmax(dim=-1), others)
    kl.backward()
    assert kl.item() == pytest.approx(0.5 * math.log(4 / 3))
    assert scores.grad.isfinite().all()
    torch.testing.assert_close(others.grad, doubles(-0.5, -0.5, 0.0))


@pytest.mark.parametrize("beta", BETAS)
def test_partition_is_the_plain_sum(reference, reward, beta):
    plain = (reference.exp() * (reward / beta).exp()).sum(dim=-1).log()
    torch.testing.assert_close(log_partition(reward, reference, beta=beta), plain)


def test_partition_does_not_overflow_for_a_small_beta(reference):
    """Every reward is 5: log Z = 5 / 0.001 = 5000, whose exponential no float holds."""
    log_z = log_partition(torch.full_like(reference, 5.0), reference, beta=0.001)
    torch.testing.assert_close(log_z, torch.full((3,), 5000.0, dtype=torch.float64))


@pytest.mark.parametrize("beta", BETAS)
def test_the_optimal_policy_is_a_distribution_and_attains_beta_log_z(reference, reward, beta):
    best = optimal_policy(reward, reference, beta=beta)
    torch.testing.assert_close(best.exp().sum(dim=-1), torch.ones(3, dtype=torch.float64))
    attained = rlhf_objective(best, reward, reference, beta=beta)
    torch.testing.assert_close(attained, beta * log_partition(reward, reference, beta=beta), rtol=0, atol=1e-10)


@pytest.mark.parametrize("beta", BETAS)
def test_every_policy_falls_short_of_the_optimum_by_beta_times_its_kl_to_it(reference, reward, beta):
    """Gibbs: J(pi) = beta log Z - beta KL(pi || pi*), for any pi."""
    best = optimal_policy(reward, reference, beta=beta)
    highest = beta * log_partition(reward, reference, beta=beta)
    for seed in range(20):
        policy = random_log_probs(3, 8, seed=100 + seed)
        value = rlhf_objective(policy, reward, reference, beta=beta)
        torch.testing.assert_close(value, highest - beta * kl_divergence(policy, best), rtol=0, atol=1e-10)
        assert (value < highest).all()


def test_gradient_ascent_on_the_objective_lands_on_the_optimal_policy(reference, reward):
    scores = reference.clone().requires_grad_()
    optimiser = torch.optim.Adam([scores], lr=0.1, maximize=True)
    for _ in range(600):
        optimiser.zero_grad()
        rlhf_objective(scores.log_softmax(dim=-1), reward, reference, beta=1.0).sum().backward()
        optimiser.step()
    reached = scores.detach().log_softmax(dim=-1).exp()
    torch.testing.assert_close(reached, optimal_policy(reward, reference, beta=1.0).exp(), rtol=0, atol=1e-4)


def test_a_large_beta_keeps_the_reference_and_a_small_one_takes_the_best_response(reference, reward):
    torch.testing.assert_close(optimal_policy(reward, reference, beta=1e8), reference, rtol=0, atol=1e-6)
    greedy = optimal_policy(reward, reference, beta=1e-4).exp()
    torch.testing.assert_close(greedy.amax(dim=-1), torch.ones(3, dtype=torch.float64))
    assert torch.equal(greedy.argmax(dim=-1), reward.argmax(dim=-1))


def test_beta_is_the_slope_of_the_reward_kl_frontier(reference, reward):
    """Along the optimal policies, d(expected reward) / d(KL) = beta."""

    def frontier(beta: float) -> tuple[float, float]:
        best = optimal_policy(reward[0], reference[0], beta=beta)
        return (best.exp() @ reward[0]).item(), kl_divergence(best, reference[0]).item()

    (reward_low, kl_low), (reward_high, kl_high) = frontier(0.5 + 1e-4), frontier(0.5 - 1e-4)
    assert (reward_high - reward_low) / (kl_high - kl_low) == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("beta", BETAS)
def test_the_implicit_reward_of_the_optimum_is_the_reward_minus_beta_log_z(reference, reward, beta):
    best = optimal_policy(reward, reference, beta=beta)
    expected = reward - beta * log_partition(reward, reference, beta=beta)[:, None]
    torch.testing.assert_close(implicit_reward(best, reference, beta=beta), expected)


def test_a_reward_of_the_prompt_alone_changes_no_policy(reference, reward):
    shift = doubles([3.0], [-1.0], [100.0])
    torch.testing.assert_close(
        optimal_policy(reward + shift, reference, beta=0.5), optimal_policy(reward, reference, beta=0.5)
    )


def test_a_response_that_the_reference_excludes_stays_excluded():
    best = optimal_policy(doubles(50.0, 0.0, 0.0), logs(0, 0.5, 0.5), beta=0.1)
    torch.testing.assert_close(best, logs(0, 0.5, 0.5))


def test_the_objective_passes_gradcheck(reference, reward):
    scores = random_log_probs(3, 8, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda s: rlhf_objective(s.log_softmax(dim=-1), reward, reference, beta=0.4), scores
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ref, r: log_partition(r, ref, beta=0.0), "beta is 0.0"),
        (lambda ref, r: optimal_policy(r, ref, beta=-1.0), "beta is -1.0"),
        (lambda ref, r: rlhf_objective(ref, r, ref, beta=math.nan), "beta is nan"),
        (lambda ref, r: implicit_reward(ref, ref, beta=math.inf), "beta is inf"),
        (lambda ref, r: kl_divergence(r, ref), "log_p: the probabilities along the last axis sum to"),
        (lambda ref, r: kl_divergence(ref, ref.exp()), "log_q: the probabilities along the last axis sum to"),
        (lambda ref, r: log_partition(r, ref + 0.01, beta=1.0), "ref_log_probs: .* sum to 1.01005; expected 1"),
        (lambda ref, r: rlhf_objective(r, r, ref, beta=1.0), "^log_probs: the probabilities"),
        (lambda ref, r: kl_divergence(ref, ref * math.nan), "sum to nan"),
        (lambda ref, r: kl_divergence(ref, ref[:1]), "expected one shape"),
        (lambda ref, r: log_partition(r[0], ref, beta=1.0), "expected one shape"),
        (lambda ref, r: implicit_reward(ref, ref[:1], beta=1.0), "expected one shape"),
    ],
)
def test_what_would_fail_silently_is_refused(call, message, reference, reward, types_unchecked):
    with pytest.raises(InputError, match=message):
        call(reference, reward)
