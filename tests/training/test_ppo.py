"""PPO on a language model: rewards token by token, ratios, the value function, and the same objective."""

import copy
import math

import pytest
import torch
from few_words import (
    END,
    Recorder,
    check_mean_gradient,
    count_words,
    everything_sayable,
    five_words,
    flat,
    gradient_of_objective,
    opinionated_model,
)
from runs import assert_same_end, without_speed
from safetensors.torch import load_file

from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.language.score import response_token_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.policy_gradient import reinforce_loss, whiten
from dpo_notes.pairs.batches import collate
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.ppo import PPO, Experience, PPOConfig, explained, token_rewards, train_ppo
from dpo_notes.training.rollout import Rollout, roll_out, stream
from dpo_notes.training.step import TrainingDiverged
from dpo_notes.training.value import PolicyWithValue

PROMPTS = ["a b", "c"]
FAST = {"learning_rate": 1e-2, "steps": 4, "batch_size": 32, "minibatch_size": 16, "epochs": 2, "max_new_tokens": 3}
FAST |= {"warmup_fraction": 0.0}


def start(policy=None, *, reference=None, reward_fn=count_words, prompts=PROMPTS, **settings):
    """train_ppo from a model of five words, its own copy the reference where none is given."""
    policy = policy or opinionated_model(6)
    others = {name: settings.pop(name) for name in ("eval_prompts", "output_dir", "resume") if name in settings}
    reference = reference or frozen_copy(policy)
    return train_ppo(policy, reference, reward_fn, prompts, five_words(), PPOConfig(**FAST | settings), **others)


def rollout_of(policy, number: int, *, size: int) -> Rollout:
    """A rollout of `size` responses to PROMPTS in turn."""
    prompts = PROMPTS * (size // 2)
    ids = [tuple(five_words()(prompt)["input_ids"]) for prompt in prompts]
    settings = {"max_new_tokens": 3, "generator": stream(0, "test", number)}
    return roll_out(policy, five_words(), count_words, prompts, ids, **settings)


def learner_of(policy, **settings) -> PPO:
    """A learner whose optimizer only records gradients."""
    learner = PPO(policy, PPOConfig(**FAST | settings), new_accelerator())
    learner.take_step = Recorder(learner.take_step.model)
    return learner


def policy_gradients(learner: PPO) -> list[torch.Tensor]:
    """The recorded gradients of the policy's own steps; no step has gradients of both policy and value function."""
    steps = []
    for gradient in learner.take_step.gradients:
        of_policy = {name.removeprefix("policy."): g for name, g in gradient.items() if name.startswith("policy.")}
        assert not of_policy or len(of_policy) == len(gradient)
        steps += [flat(of_policy)] if of_policy else []
    return steps


def test_what_each_token_earns_by_hand():
    """Rewards 1 and -2, beta 0.5. The reward comes at the last token of a response, wherever padding begins."""
    mask = torch.tensor([[False, True, True, False], [False, False, True, True]])
    kl = torch.tensor([[0, 0.2, 0.4, 0], [0, 0, -0.6, 0.2]])
    earned = token_rewards(torch.tensor([1.0, -2.0]), kl, mask, beta=0.5)
    torch.testing.assert_close(earned, torch.tensor([[0, -0.1, 0.8, 0], [0, 0, 0.3, -2.1]]))
    torch.testing.assert_close(earned.sum(1), torch.tensor([1.0, -2.0]) - 0.5 * kl.sum(1))
    assert torch.equal(token_rewards(torch.tensor([1.0, -2.0]), kl, mask, beta=0.0).sum(1), torch.tensor([1.0, -2.0]))


def test_explained_by_hand():
    """Targets 1, 2, 3 (variance 2/3): foreseen exactly, all by their mean, and worse than that."""
    targets, mask = torch.tensor([[1.0, 2.0, 3.0, 9.0]]), torch.tensor([[True, True, True, False]])
    for values, expected in (([1, 2, 3, 0], 1.0), ([2, 2, 2, 0], 0.0), ([1, 1, 1, 0], -1.5)):
        assert explained(torch.tensor([values]).float(), targets, mask) == pytest.approx(expected, abs=1e-5)


def experience_by_hand(learner: PPO, rollout: Rollout, ref_logps: torch.Tensor) -> Experience:
    """What is still to come minus what the value function expects, for each token, as the definitions have it."""
    logps, states = rollout.per_token(learner.take_step.model, size=100)
    mask, beta = rollout.batch().response_mask, learner.config.beta
    to_come = token_rewards(rollout.rewards, logps - ref_logps, mask, beta=beta).flip(1).cumsum(1).flip(1)
    with torch.no_grad():
        return Experience(rollout, logps, (to_come - learner.take_step.model.values(states)) * mask)


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_the_expected_gradient_of_a_rounds_first_step_is_the_gradient_of_the_objective(beta):
    """100 rounds of 16 responses, cut ones among them, against autograd through the sum over all 85 that there are.

    The advantages are not whitened, which would shift and scale them. The value function does not start at 0 here, and
    still adds no bias.
    """
    policy, reference = opinionated_model(6), opinionated_model(10).requires_grad_(False)
    _, exact = gradient_of_objective(policy, reference, count_words, PROMPTS, beta=beta)
    learner = learner_of(policy, beta=beta, epochs=1, batch_size=16)
    unlearn_value(learner.take_step.model)
    for number in range(100):
        rollout = rollout_of(policy, number, size=16)
        (ref_logps,) = rollout.per_token(lambda batch: (response_token_logps(reference, batch),), size=100)
        learner.improve_policy(number + 1, experience_by_hand(learner, rollout, ref_logps), stream(0, "test", number))
    check_mean_gradient(-torch.stack(policy_gradients(learner)), flat(exact))


def unlearn_value(model: PolicyWithValue) -> None:
    """Give the value function random weights in place of its zeros."""
    with torch.no_grad():
        for number, parameter in enumerate(model.value.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) * 0.3)


def test_at_the_first_minibatch_the_ratio_is_1_and_the_gradient_is_that_of_reinforce():
    """The same rollout, with whitened advantages; nothing is clipped, and the loss is minus the mean advantage."""
    policy = opinionated_model(6)
    learner = learner_of(policy, epochs=1, minibatch_size=32, rows_per_forward=5, beta=0.5)
    unlearn_value(learner.take_step.model)
    rollout = rollout_of(policy, 0, size=32)
    reference = opinionated_model(10)
    (ref_logps,) = rollout.per_token(lambda batch: (response_token_logps(reference, batch),), size=100)
    advantages = whiten(experience_by_hand(learner, rollout, ref_logps).advantages, rollout.batch().response_mask)
    row = learner.learn(1, rollout, ref_logps, stream(0, "test", 0))
    [gradient] = policy_gradients(learner)
    policy.zero_grad()
    (reinforce_loss(response_token_logps(policy, rollout.batch()), advantages).sum() / 32).backward()
    expected = flat({name: parameter.grad for name, parameter in policy.named_parameters()})
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)
    assert row["clip_fraction"] == 0
    assert row["loss"] == pytest.approx(-advantages.sum().item() / 32, abs=1e-5)


def test_a_later_step_by_hand():
    """Two responses, the second cut; today's log-probabilities are 0.5 above the old ones, the same, or 0.5 below them:
    ratios 1.65, 1 and 0.61, of which the first and last are beyond a clip of 0.2.

    Advantages 1, -1, 1 and 2, 0.5: the losses are -1.2, 1, -0.61 and -2.4, -0.5.
    Clipped are two of three tokens, and one of two: on average over the responses 7 in 12.
    """
    learner = learner_of(opinionated_model(6), clip=0.2)
    rollout = Rollout([(1,)] * 2, [[1, 2, END], [2, 2]], torch.zeros(2), torch.tensor([True, False]))
    with torch.no_grad():
        logps, _ = learner.take_step.model(rollout.batch())
    apart = torch.tensor([[0, 0.5, 0, -0.5], [0, 0.5, 0, 0]])
    advantages = torch.tensor([[0, 1.0, -1, 1], [0, 2, 0.5, 0]])
    experience = Experience(rollout, logps - apart, advantages)
    shares = [learner.share(experience, 2, [row]) for row in (1, 0)]
    total = {name: sum(share[name].item() for share in shares) for name in shares[0]}
    assert total["loss"] == pytest.approx((-1.2 + 1 - math.exp(-0.5) - 2.4 - 0.5) / 2, rel=1e-4)
    assert total["clip_fraction"] == pytest.approx(7 / 12)


def test_every_epoch_has_each_response_once_in_an_order_of_its_own(monkeypatch):
    """3 epochs of 32 responses in minibatches of 10: parts of 10, 10, 10 and 2."""
    learner, seen = learner_of(opinionated_model(6), epochs=3, minibatch_size=10, rows_per_forward=100), []
    nothing = lambda experience, responses, part: seen.append(part) or {"loss": torch.zeros((), requires_grad=True)}
    monkeypatch.setattr(learner, "share", nothing)
    rollout = rollout_of(learner.take_step.model.policy, 0, size=32)
    learner.improve_policy(1, Experience(rollout, torch.zeros(1, 1), torch.zeros(1, 1)), stream(0, "test", 0))
    assert [len(part) for part in seen] == [10, 10, 10, 2] * 3
    epochs = [[row for part in seen[start : start + 4] for row in part] for start in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(32)) for epoch in epochs)
    assert {frozenset(part) for part in seen[:3]}.isdisjoint({frozenset(part) for part in seen[4:7]})
    assert PPOConfig(batch_size=32, minibatch_size=10, epochs=3).updates_per_step == 12


def test_the_value_function_reads_the_response_so_far_and_trains_nothing_but_itself():
    """V before a token does not change with that token or later ones; its gradient does not reach the policy."""
    model = PolicyWithValue(opinionated_model(6), seed=0)
    unlearn_value(model)
    batch = collate([(1, 2)] * 3, [[1, 2, 3], [1, 3, 3], [4, 3, 3]])
    logps, states = model(batch)
    torch.testing.assert_close(logps, response_token_logps(model.policy, batch))
    values = model.values(states)
    one, other, third = values.detach()
    torch.testing.assert_close(torch.stack([one[2], one[3]]), torch.stack([third[2], other[3]]))
    assert abs(one[4] - other[4]) > 1e-3 and abs(one[3] - third[3]) > 1e-3
    assert not states[:, :2].any()
    values.sum().backward()
    assert all(parameter.grad is None for parameter in model.policy.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.value.parameters())


def test_the_value_function_begins_at_0_and_the_seed_alone_decides_the_rest():
    before = torch.get_rng_state()
    one, same, other = (PolicyWithValue(opinionated_model(6), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    _, states = one(collate([(1, 2)], [[1, 2, 3]]))
    assert states.any() and not one.values(states).any()
    ours, theirs, others = (dict(model.value.named_parameters()) for model in (one, same, other))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], others[name]) for name in ours)


def test_values_are_fitted_by_least_squares_to_what_was_still_to_come():
    """The loss of its first step by hand, with lam 1: half the mean square over tokens of return minus value."""
    learner = learner_of(opinionated_model(6), beta=0.0)
    rollout = rollout_of(learner.take_step.model.policy, 0, size=8)
    (logps,) = rollout.per_token(lambda batch: (learner.take_step.model(batch)[0],), size=8)
    row = learner.learn(1, rollout, logps, stream(0, "test", 0))
    lengths = [len(ids) for ids in rollout.response_ids]
    expected = sum(n * r**2 for n, r in zip(lengths, rollout.rewards.tolist(), strict=True)) / sum(lengths) / 2
    assert row["value_loss"] == pytest.approx(expected, rel=0.2)  # the mean over minibatches, which may differ in size
    assert row["explained"] <= 0


def test_the_value_function_learns_what_is_still_to_come():
    """A policy that hardly moves: of the variance of returns more and more is foreseen."""
    rows = list(start(learning_rate=1e-3, steps=40, beta=20.0))
    first, last = (sum(row["explained"] for row in part) / 10 for part in (rows[:10], rows[-10:]))
    assert first < last - 0.1 and last > 0.3


def test_without_a_penalty_the_better_of_two_arms_is_all_that_is_left():
    """A bandit: the reward is 1 for "a", else 0, and one word is said. At beta 0 nothing holds the policy back."""
    arm = lambda prompts, responses: torch.tensor([float(text == "a") for text in responses])
    policy = opinionated_model(10)
    rows = list(start(policy, reward_fn=arm, beta=0.0, max_new_tokens=1, steps=40))
    assert rows[0]["reward"] < 0.2
    assert rows[-1]["reward"] > 0.9 and rows[-1]["kl"] > 1
    with torch.no_grad():
        responses = everything_sayable(1)
        probability = response_token_logps(policy, collate([(3,)] * len(responses), responses)).sum(1).exp()
    assert probability[responses.index([1])] > 0.95


def test_the_penalty_draws_the_policy_to_the_reference():
    """Without any reward, from another model: the divergence shrinks. (With the sign wrong it would grow.)"""
    nothing = lambda prompts, responses: torch.zeros(len(responses))
    rows = list(start(opinionated_model(6), reference=opinionated_model(10), reward_fn=nothing, beta=1.0, steps=40))
    assert rows[0]["kl"] > 0.3
    assert sum(row["kl"] for row in rows[-10:]) / 10 < 0.1


def test_rows_have_their_names_and_one_comes_a_round():
    rows = list(start(steps=5))
    names = {"step", "epoch", "loss", "value_loss", "clip_fraction", "explained", "objective", "reward", "kl"}
    names |= {"entropy", "length", "unfinished", "grad_norm", "learning_rate", "responses_per_second"}
    assert all(row.keys() == names for row in rows)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6) and rows[0]["clip_fraction"] < 0.5
    assert rows[-1]["learning_rate"] == pytest.approx(1e-2 * 2.5 / 20)  # the last 4 of 20 updates: 4, 3, 2 and 1 of 20
    assert all(type(value) in (int, float) for row in rows for value in row.values())


def test_rows_at_a_time_change_nothing_but_rounding():
    one, other = (list(start(rows_per_forward=size)) for size in (3, 32))
    for ours, theirs in zip(without_speed(one), without_speed(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    first, second, other = (without_speed(start(seed=seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_a_run_that_stopped_and_is_resumed_is_the_uninterrupted_one_bit_by_bit(tmp_path):
    """Stopped after round 5, a row beyond its last checkpoint; rows, policy, value function and moments agree."""
    settings = {"steps": 8, "checkpoint_every": 2, "eval_prompts": ["b", "d d"], "eval_every": 3, "beta": 0.4}
    whole = list(start(output_dir=tmp_path / "whole", **settings))
    for row in start(output_dir=tmp_path / "stopped", **settings):
        if row["step"] == 5:
            break
    rest = list(start(output_dir=tmp_path / "stopped", resume=True, **settings))
    assert without_speed(rest) == without_speed(whole)[5:]
    assert_same_end(tmp_path / "stopped", tmp_path / "whole")
    names = load_file(tmp_path / "whole/checkpoint/step-00000008/state.safetensors")
    assert any(name.startswith("value.") and name.endswith("exp_avg") for name in names)


def test_the_saved_model_is_the_policy_alone(tmp_path):
    policy = opinionated_model(6)
    list(start(policy, output_dir=tmp_path / "run"))
    saved, _ = load_model(tmp_path / "run/model")
    ours, theirs = policy.state_dict(), saved.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_policy_that_diverges_stops_the_run_and_names_round_and_step():
    policy = opinionated_model(6)
    rows = start(policy, beta=1e38)
    next(rows)
    before = copy.deepcopy(policy.state_dict())
    with pytest.raises(TrainingDiverged, match="round 2, optimizer step 5: loss"):
        next(rows)
    assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beta": -1.0}, r"beta \(if not 0\) is -1.0; expected a finite number above 0"),
        ({"clip": 0.0}, "clip is 0.0; expected a finite number above 0"),
        ({"lam": 1.1}, "lam is 1.1; expected a number from 0 to 1"),
        ({"lam": math.nan}, "lam is nan"),
        ({"minibatch_size": 33}, "minibatch_size is 33; expected at most batch_size, 32"),
        ({"minibatch_size": 0}, "minibatch_size is 0; expected a whole number of at least 1"),
        ({"epochs": 0}, "epochs is 0; expected a whole number of at least 1"),
        ({"prompts": []}, r"prompts is \[\]; expected a list of texts, at least one"),
    ],
)
def test_bad_arguments_are_refused_in_one_line_before_the_first_row(settings, problem):
    with pytest.raises(InputError, match=problem) as error:
        start(**settings)
    assert "\n" not in str(error.value)


def test_a_reward_that_is_not_finite_is_refused_with_its_text():
    bad = lambda prompts, responses: torch.tensor([math.nan] * len(responses))
    with pytest.raises(InputError, match="the reward of '.*' to '.*' is nan; expected a finite number"):
        list(start(reward_fn=bad))
