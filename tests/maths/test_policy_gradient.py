import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.maths.policy_gradient import (
    discounted_returns,
    gae,
    kl_k1,
    kl_k2,
    kl_k3,
    masked_mean,
    ppo_clip_loss,
    reinforce_loss,
    whiten,
)

KL_ESTIMATORS = [kl_k1, kl_k2, kl_k3]


@pytest.fixture
def generator():
    return seeded()


def normal(*shape, generator):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def all_true(values):
    return torch.ones_like(values, dtype=torch.bool)


# REINFORCE ------------------------------------------------------------------------------------------------------------


def gradients_by_action(logits, rewards):
    """The REINFORCE gradient that each action would give if it were the one sampled, one row per action."""
    losses = reinforce_loss(logits.log_softmax(0), rewards)
    return torch.stack([torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in losses])


def test_reinforce_loss_of_an_even_chance_with_advantage_one_is_log_2():
    loss = reinforce_loss(torch.tensor([0.5]).log(), torch.tensor([1.0]))
    assert loss.item() == pytest.approx(math.log(2))


def test_expected_reinforce_gradient_is_the_gradient_of_the_expected_reward(generator):
    logits = normal(5, generator=generator).requires_grad_()
    rewards = normal(5, generator=generator)
    (exact,) = torch.autograd.grad((logits.softmax(0) * rewards).sum(), logits)
    expected = logits.softmax(0) @ gradients_by_action(logits, rewards)
    torch.testing.assert_close(expected, -exact)


def test_baseline_leaves_the_mean_of_the_gradient_and_changes_its_variance(generator):
    """All rewards near 10: subtracting 10 leaves little to vary."""
    logits = normal(5, generator=generator).requires_grad_()
    rewards = 10 + normal(5, generator=generator)
    policy = logits.detach().softmax(0)
    plain, reduced = gradients_by_action(logits, rewards), gradients_by_action(logits, rewards - 10)
    torch.testing.assert_close(policy @ plain, policy @ reduced)
    assert (policy @ reduced.square()).sum() < (policy @ plain.square()).sum() / 10


def test_the_batch_mean_as_baseline_shrinks_the_gradient_by_one_part_in_n(generator):
    """n = 2: all 9 pairs of 3 actions, weighed by their probability; the exact gradient times 1 - 1/2."""
    logits, rewards = normal(2, 3, generator=generator)
    logits.requires_grad_()
    logps = logits.log_softmax(0)
    (exact,) = torch.autograd.grad((logits.softmax(0) * rewards).sum(), logits, retain_graph=True)
    expected = torch.zeros_like(exact)
    for pair in torch.cartesian_prod(torch.arange(3), torch.arange(3)):
        advantages = rewards[pair] - masked_mean(rewards[pair], all_true(pair))
        loss = reinforce_loss(logps[pair], advantages).mean()
        expected -= logps[pair].sum().exp().detach() * torch.autograd.grad(loss, logits, retain_graph=True)[0]
    torch.testing.assert_close(expected, exact / 2)


def test_no_gradient_flows_into_advantages():
    advantages = torch.ones(3, requires_grad=True)
    logps = torch.zeros(3, requires_grad=True)
    (reinforce_loss(logps, advantages) + ppo_clip_loss(logps, logps, advantages)).sum().backward()
    assert advantages.grad is None and logps.grad is not None


# PPO ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ratio, advantage, loss, slope",
    [
        (1.1, 2.0, -2.2, -2.2),  # inside the clip: -1.1 * 2; its slope in log pi is the same, as d ratio = ratio
        (1.5, 2.0, -2.4, 0.0),  # too far for gain: -1.2 * 2, and no gradient
        (0.5, 2.0, -1.0, -1.0),  # the wrong way: -0.5 * 2, gradient kept
        (0.5, -2.0, 1.6, 0.0),  # too far for gain: 0.8 * 2
        (1.5, -2.0, 3.0, 3.0),  # the wrong way: 1.5 * 2
    ],
)
def test_ppo_clip_loss_by_hand(ratio, advantage, loss, slope):
    logps = torch.tensor([math.log(ratio)], requires_grad=True)
    result = ppo_clip_loss(logps, torch.zeros(1), torch.tensor([advantage]), clip=0.2)
    assert result.item() == pytest.approx(loss)
    assert torch.autograd.grad(result, logps)[0].item() == pytest.approx(slope, abs=1e-7)


def test_ppo_gradient_is_reinforce_gradient_where_policies_agree(generator):
    logps, advantages = normal(2, 7, generator=generator)
    logps.requires_grad_()
    (ppo,) = torch.autograd.grad(ppo_clip_loss(logps, logps, advantages).sum(), logps)
    (reinforce,) = torch.autograd.grad(reinforce_loss(logps, advantages).sum(), logps)
    torch.testing.assert_close(ppo, reinforce)
    torch.testing.assert_close(ppo_clip_loss(logps, logps, advantages), -advantages)


# Returns and advantages -----------------------------------------------------------------------------------------------


def test_discounted_returns_by_hand():
    """0.9 * 0.9 * 1 = 0.81; a pad after the end earns nothing; a gap in the mask ends one episode, another begins."""
    rewards = torch.tensor([[0.0, 0.0, 1.0, 0.0], [1.0, 2.0, 9.0, 4.0]])
    mask = torch.tensor([[True, True, True, True], [True, True, False, True]])
    expected = torch.tensor([[0.81, 0.9, 1.0, 0.0], [1 + 0.9 * 2, 2.0, 0.0, 4.0]])
    torch.testing.assert_close(discounted_returns(rewards, mask, discount=0.9), expected)


def test_discounted_returns_are_a_double_sum(generator):
    rewards = normal(3, 6, generator=generator)
    powers = torch.tensor([[0.7 ** (j - i) if j >= i else 0.0 for j in range(6)] for i in range(6)])
    result = discounted_returns(rewards, all_true(rewards), discount=0.7)
    torch.testing.assert_close(result, rewards @ powers.double().T)


def test_gae_by_hand():
    """discount 1/2, lam 1/2. delta = [0 + 1 - 1, 4 - 2] = [0, 2]; A_1 = 2, A_0 = 0 + 1/4 * 2 = 1/2."""
    rewards, values = torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0, 2.0]])
    advantages = gae(rewards, values, all_true(values), discount=0.5, lam=0.5)
    torch.testing.assert_close(advantages, torch.tensor([[0.5, 2.0]]))


def test_gae_with_lam_1_is_return_minus_value_and_with_lam_0_the_one_step_surprise(generator):
    rewards, values = normal(2, 4, 6, generator=generator)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [5]])
    returns = discounted_returns(rewards, mask, discount=0.9)
    monte_carlo = gae(rewards, values, mask, discount=0.9, lam=1.0)
    torch.testing.assert_close(monte_carlo, torch.where(mask, returns - values, 0.0))

    values = torch.where(mask, values, 0.0)
    surprise = rewards[:, :-1] + 0.9 * values[:, 1:] - values[:, :-1]
    one_step = gae(rewards, values, mask, discount=0.9, lam=0.0)
    torch.testing.assert_close(one_step[:, :-1], torch.where(mask[:, :-1], surprise, 0.0))


def test_gae_is_the_exponential_average_of_k_step_advantages(generator):
    """(1 - lam) * sum over k of lam^(k-1) * A^(k), where A^(k) looks k steps ahead and then trusts the value there.

    From step 0 of an episode of 4 steps, all A^(k) with k >= 4 are the same; their weights add up to lam^3.
    """
    (rewards, values), discount, lam = normal(2, 4, generator=generator), 0.9, 0.6
    value_after = [*values[1:].tolist(), 0.0]
    ahead = [
        sum(discount**i * rewards[i].item() for i in range(k)) + discount**k * value_after[k - 1] - values[0].item()
        for k in range(1, 5)
    ]
    average = sum((1 - lam) * lam**k * ahead[k] for k in range(3)) + lam**3 * ahead[3]
    result = gae(rewards[None], values[None], all_true(rewards[None]), discount=discount, lam=lam)
    assert result[0, 0].item() == pytest.approx(average)


def test_values_at_padding_do_not_matter():
    rewards, values = torch.tensor([[1.0, 2.0, math.nan]]), torch.tensor([[3.0, 4.0, math.nan]])
    mask = torch.tensor([[True, True, False]])
    advantages = gae(rewards, values, mask, discount=0.9, lam=0.8)
    short = gae(rewards[:, :2], values[:, :2], mask[:, :2], discount=0.9, lam=0.8)
    torch.testing.assert_close(advantages, torch.cat([short, torch.zeros(1, 1)], dim=1))
    assert masked_mean(rewards, mask) == 1.5
    assert whiten(rewards, mask)[0, 2] == 0 and whiten(rewards, mask).isfinite().all()


def test_whitened_advantages_have_mean_0_and_variance_1_whatever_their_scale(generator):
    advantages = normal(4, 5, generator=generator)
    mask = torch.arange(5) < torch.tensor([[5], [2], [4], [1]])
    white = whiten(advantages, mask)
    assert white[mask].mean().abs() < 1e-12
    assert white[mask].var(correction=0) == pytest.approx(1)
    torch.testing.assert_close(whiten(100 * advantages - 7, mask), white, atol=1e-6, rtol=1e-6)
    assert (whiten(torch.ones(3), torch.ones(3, dtype=torch.bool)) == 0).all()


# KL from samples ------------------------------------------------------------------------------------------------------


def two_policies(distance, generator, responses=6):
    """Log-probabilities of a policy and a reference, further apart as distance grows."""
    logits, change = normal(2, responses, generator=generator)
    return (logits + distance * change).log_softmax(0), logits.log_softmax(0)


def mean_and_variance(estimator, policy, reference):
    estimate = estimator(policy, reference)
    mean = (policy.exp() * estimate).sum()
    return mean.item(), (policy.exp() * (estimate - mean).square()).sum().item()


@pytest.mark.parametrize("estimator", KL_ESTIMATORS)
def test_kl_estimators_are_zero_where_policies_agree(estimator, generator):
    policy, _ = two_policies(1.0, generator)
    assert (estimator(policy, policy) == 0).all()


@pytest.mark.parametrize("estimator, value", [(kl_k1, -math.log(2)), (kl_k2, math.log(2) ** 2 / 2), (kl_k3, 0.3069)])
def test_kl_estimators_where_the_reference_is_twice_the_policy(estimator, value):
    """log r = log 2: k1 = -log 2, k2 = (log 2)^2 / 2, k3 = (2 - 1) - log 2."""
    assert estimator(torch.tensor([0.2]).log(), torch.tensor([0.4]).log()).item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("estimator", [kl_k1, kl_k3])
@pytest.mark.parametrize("distance", [0.01, 1.0, 5.0])
def test_k1_and_k3_are_unbiased(estimator, distance, generator):
    policy, reference = two_policies(distance, generator)
    mean, _ = mean_and_variance(estimator, policy, reference)
    assert mean == pytest.approx(kl_divergence(policy, reference).item(), rel=1e-9)


def test_bias_of_k2_is_of_third_order(generator):
    """Half the distance: an eighth of the bias, while the KL falls to a quarter only."""
    biases, kls = [], []
    for distance in (0.02, 0.01):
        policy, reference = two_policies(distance, generator.manual_seed(0))
        kls.append(kl_divergence(policy, reference).item())
        biases.append(mean_and_variance(kl_k2, policy, reference)[0] - kls[-1])
    assert biases[0] / biases[1] == pytest.approx(8, rel=0.05)
    assert kls[0] / kls[1] == pytest.approx(4, rel=0.05)


def test_k2_and_k3_are_never_negative_and_k1_often_is(generator):
    policy, reference = two_policies(1.0, generator, responses=1000)
    assert (kl_k1(policy, reference) < 0).sum() > 300
    assert (kl_k2(policy, reference) >= 0).all() and (kl_k3(policy, reference) >= 0).all()


def test_variance_of_k1_is_twice_the_kl_near_the_reference_where_k2_and_k3_have_almost_none(generator):
    policy, reference = two_policies(0.01, generator)
    kl = kl_divergence(policy, reference).item()
    variances = {estimator: mean_and_variance(estimator, policy, reference)[1] for estimator in KL_ESTIMATORS}
    assert variances[kl_k1] == pytest.approx(2 * kl, rel=0.05)
    assert max(variances[kl_k2], variances[kl_k3]) < variances[kl_k1] / 1000


def test_variance_of_k3_is_worse_than_that_of_k1_where_the_policy_left_the_reference():
    """pi = (1 - e, e), reference 1/2 each: r = 1 / (2e) with probability e gives E[r^2] = 1 / (4e), without bound."""
    policy = doubles(1 - 1e-4, 1e-4).log()
    reference = torch.full_like(policy, math.log(0.5))
    assert mean_and_variance(kl_k3, policy, reference)[1] > 100 * mean_and_variance(kl_k1, policy, reference)[1]


def test_k3_keeps_its_digits_near_the_reference():
    """k3 = x^2 / 2 - x^3 / 6 + ... for a log-ratio x; exp(-x) - 1 + x in float32 has no digit left at x = 1e-5."""
    assert kl_k3(torch.tensor([1e-5]), torch.tensor([0.0])).item() == pytest.approx(5e-11, rel=0.1)


def test_expected_gradients_of_the_estimators_are_those_of_zero_kl_and_the_reversed_kl(generator):
    logits = normal(5, generator=generator).requires_grad_()
    reference = normal(5, generator=generator).log_softmax(0)
    policy = logits.log_softmax(0)

    def gradient(value):
        return torch.autograd.grad(value, logits, retain_graph=True)[0]

    sampled = {k: gradient((policy.detach().exp() * k(policy, reference)).sum()) for k in KL_ESTIMATORS}
    torch.testing.assert_close(sampled[kl_k1], torch.zeros_like(logits))
    torch.testing.assert_close(sampled[kl_k2], gradient(kl_divergence(policy, reference)))
    torch.testing.assert_close(sampled[kl_k3], gradient(kl_divergence(reference, policy)))


@pytest.mark.parametrize("estimator", [kl_k1, kl_k3])
def test_summed_over_tokens_k1_and_k3_estimate_the_kl_of_whole_responses(estimator, generator):
    """Two tokens of a vocabulary of 4: all 16 responses are counted."""
    policy_first, ref_first = normal(2, 4, generator=generator).log_softmax(-1)
    policy_second, ref_second = normal(2, 4, 4, generator=generator).log_softmax(-1)
    policy, reference = policy_first[:, None] + policy_second, ref_first[:, None] + ref_second
    summed = estimator(policy_first, ref_first)[:, None] + estimator(policy_second, ref_second)
    expected = kl_divergence(policy.flatten(), reference.flatten())
    torch.testing.assert_close((policy.exp() * summed).sum(), expected)


# Guards ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x, m: ppo_clip_loss(x, x, x, clip=0.0), "clip is 0.0"),
        (lambda x, m: discounted_returns(x, m, discount=1.1), "discount is 1.1"),
        (lambda x, m: gae(x, x, m, discount=2.0, lam=0.1), "discount is 2.0"),
        (lambda x, m: gae(x, x, m, discount=0.5, lam=1.5), "lam is 1.5"),
        (lambda x, m: gae(x, x, m, discount=math.nan, lam=0.5), "discount is nan"),
        (lambda x, m: masked_mean(x, ~m), "no True"),
        (lambda x, m: whiten(x, ~m), "no True"),
    ],
)
def test_a_wrong_number_is_refused(call, message):
    values = torch.zeros(2, 3)
    with pytest.raises(InputError, match=message):
        call(values, all_true(values))
