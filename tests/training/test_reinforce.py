"""REINFORCE on a language model: the gradient is that of the objective, and following it finds the optimum."""

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
    text_of,
)
from intervals import deviations
from runs import assert_same_end, without_speed

from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import response_token_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.optimum import kl_divergence, optimal_policy
from dpo_notes.pairs.batches import collate
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.reinforce import Reinforce, ReinforceConfig, train_reinforce
from dpo_notes.training.rollout import Rollout, roll_out, stream
from dpo_notes.training.step import TrainingDiverged

PROMPTS = ["a b", "c"]
FAST = {"learning_rate": 3e-2, "steps": 4, "batch_size": 32, "max_new_tokens": 3, "warmup_fraction": 0.0}


def start(policy=None, *, reference=None, reward_fn=count_words, prompts=PROMPTS, tokenizer=None, **settings):
    """train_reinforce from a model of five words, its own copy the reference where none is given."""
    policy = policy or opinionated_model(6)
    others = {name: settings.pop(name) for name in ("eval_prompts", "output_dir", "resume") if name in settings}
    config = ReinforceConfig(**FAST | settings)
    reference = reference or frozen_copy(policy)
    return train_reinforce(policy, reference, reward_fn, prompts, tokenizer or five_words(), config, **others)


def rollout_of(policy, number: int, *, size: int, longest: int = 3) -> Rollout:
    """A rollout of `size` responses to PROMPTS in turn."""
    prompts = PROMPTS * (size // 2)
    ids = [tuple(five_words()(prompt)["input_ids"]) for prompt in prompts]
    settings = {"max_new_tokens": longest, "generator": stream(0, "test", number)}
    return roll_out(policy, five_words(), count_words, prompts, ids, **settings)


def all_log_probs(model, prompt: tuple[int, ...], longest: int = 3) -> torch.Tensor:
    """log pi(y | prompt) of everything that can be said."""
    responses = everything_sayable(longest)
    with torch.no_grad():
        return response_token_logps(model, collate([prompt] * len(responses), responses)).sum(1).double()


@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_the_expected_gradient_of_a_step_is_the_gradient_of_the_objective(beta):
    """100 steps of 16 responses, cut ones among them, against autograd through the sum over all 85 that there are."""
    policy, reference = opinionated_model(6), opinionated_model(10).requires_grad_(False)
    objective, exact = gradient_of_objective(policy, reference, count_words, PROMPTS, beta=beta)
    learner = Reinforce(policy, ReinforceConfig(**FAST | {"beta": beta}), new_accelerator())
    learner.take_step = Recorder(policy)
    objectives = []
    for number in range(100):
        rollout = rollout_of(policy, number, size=16)
        (ref_logps,) = rollout.per_token(lambda batch: (response_token_logps(reference, batch),), size=100)
        objectives.append(learner.learn(number, rollout, ref_logps, stream(0, "test", number))["objective"])
    gradients = torch.stack([-flat(gradient) for gradient in learner.take_step.gradients])
    check_mean_gradient(gradients, flat(exact))
    assert abs(deviations(torch.tensor(objectives)[:, None], objective)) < 4


def test_a_step_by_hand(monkeypatch):
    """Rewards 3, 1, 0 with summed k1 of 1, -1, 0 at beta 0.5: R = 2.5, 1.5, 0, and what the others have on average
    0.75, 1.25, 2. So the advantages are 1.75, 0.25, -2, and the loss the mean of -log pi(y) times those."""
    policy, responses = opinionated_model(6), [[1, END], [2, 2, 2], [END]]
    rollout = Rollout([(1,)] * 3, responses, torch.tensor([3.0, 1.0, 0.0]), torch.tensor([True, False, True]))
    batch = rollout.batch()
    with torch.no_grad():
        logps = response_token_logps(policy, batch)
    kl = torch.tensor([[0, 0.4, 0.6, 0], [0, -0.5, -0.25, -0.25], [0, 0, 0, 0]])
    learner = Reinforce(policy, ReinforceConfig(beta=0.5), new_accelerator())
    learner.take_step = Recorder(policy)
    row = learner.learn(1, rollout, logps - kl, stream(0, "test", 0))
    expected = -(logps.sum(1) * torch.tensor([1.75, 0.25, -2.0])).mean().item()
    assert row["loss"] == pytest.approx(expected, rel=1e-4)
    assert row["objective"] == pytest.approx(4 / 3 - 0.5 * 0)


def test_training_goes_to_the_optimal_policy_that_dpo_has_too():
    """One word is said; pi* = pi_ref exp(r / beta) / Z is known. KL(pi || pi*) falls from 0.2 or more to under 0.02."""
    policy = opinionated_model(10)
    reference, beta = frozen_copy(policy), 0.8
    responses = everything_sayable(1)
    reward = count_words(None, [text_of(response) for response in responses]).double()
    best = [optimal_policy(reward, all_log_probs(reference, ids, 1), beta=beta) for ids in ((1, 2), (3,))]

    def distance() -> float:
        now = [all_log_probs(policy, ids, 1) for ids in ((1, 2), (3,))]
        return sum(kl_divergence(p, q).item() for p, q in zip(now, best, strict=True)) / 2

    assert distance() > 0.2
    list(start(policy, reference=reference, beta=beta, max_new_tokens=1, steps=80, batch_size=96, rows_per_forward=96))
    assert distance() < 0.02


def test_without_a_penalty_the_better_of_two_arms_is_all_that_is_left():
    """A bandit: the reward is 1 for "a", else 0. At beta 0 nothing holds the policy back."""
    policy = opinionated_model(10)
    before = all_log_probs(policy, (3,), 1).exp()
    arm = lambda prompts, responses: torch.tensor([float(text == "a") for text in responses])
    rows = list(start(policy, reward_fn=arm, beta=0.0, max_new_tokens=1, steps=60))
    after = all_log_probs(policy, (3,), 1).exp()
    place = everything_sayable(1).index([1])
    assert before[place] < 0.1
    assert after[place] > 0.95
    assert rows[-1]["reward"] > 0.9 and rows[-1]["objective"] == rows[-1]["reward"]
    assert rows[-1]["kl"] > 1


def test_the_penalty_draws_the_policy_to_the_reference():
    """Without any reward, from another model: the divergence shrinks. (With the sign wrong it would grow.)"""
    policy, reference = opinionated_model(6), opinionated_model(10)
    nothing = lambda prompts, responses: torch.zeros(len(responses))
    rows = list(start(policy, reference=reference, reward_fn=nothing, beta=1.0, steps=60))
    assert rows[0]["kl"] > 0.3
    assert sum(row["kl"] for row in rows[-10:]) / 10 < 0.1
    assert all(row["objective"] == pytest.approx(-row["kl"], abs=1e-6) for row in rows)


def test_rows_have_their_names_count_steps_and_begin_at_the_reference():
    rows = list(start(prompts=["a b", "c", "d"] * 8, steps=6, beta=0.3))
    names = {"step", "epoch", "loss", "objective", "reward", "kl", "entropy", "length", "unfinished", "grad_norm"}
    assert all(row.keys() == names | {"learning_rate", "responses_per_second"} for row in rows)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in rows] == pytest.approx([step * 32 / 24 for step in range(1, 7)])
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert rows[0]["objective"] == pytest.approx(rows[0]["reward"], abs=1e-6)
    assert all(type(value) in (int, float) for row in rows for value in row.values())
    assert rows[0]["learning_rate"] == pytest.approx(3e-2) and rows[-1]["learning_rate"] == pytest.approx(5e-3)


def test_evaluations_come_first_as_often_as_asked_and_last():
    settings = {"eval_prompts": ["b", "d d"] * 5, "eval_samples": 6, "steps": 5}
    rows = list(start(eval_every=2, **settings))
    assert [row["step"] for row in rows if "eval/kl" in row] == [0, 2, 4, 5]
    assert rows[0].keys() == {"step", "epoch", "eval/kl", "eval/kl_error", "eval/length"}
    assert rows[0]["eval/kl"] == 0
    assert [row["step"] for row in start(**settings) if "eval/kl" in row] == [0, 5]
    assert [row["step"] for row in start(**settings | {"eval_samples": 0}) if "eval/kl" in row] == []


def test_rows_at_a_time_change_nothing_but_rounding():
    one, other = (list(start(rows_per_forward=size)) for size in (3, 32))
    for ours, theirs in zip(without_speed(one), without_speed(other), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4)


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    first, second, other = (without_speed(start(seed=seed)) for seed in (1, 1, 2))
    assert first == second != other


def test_every_round_has_chance_of_its_own():
    """One prompt, and a policy that all but stands still: the rounds still say different things."""
    rows = list(start(prompts=["c"], learning_rate=1e-12, steps=5))
    assert len({row["reward"] for row in rows}) > 2


def test_a_run_that_stopped_and_is_resumed_is_the_uninterrupted_one_bit_by_bit(tmp_path):
    """Stopped after step 5, a row beyond its last checkpoint; rows, policy and Adam's moments agree."""
    settings = {"steps": 8, "checkpoint_every": 2, "eval_prompts": ["b", "d d"], "eval_every": 3, "beta": 0.4}
    whole = list(start(output_dir=tmp_path / "whole", **settings))
    for row in start(output_dir=tmp_path / "stopped", **settings):
        if row["step"] == 5:
            break
    rest = list(start(output_dir=tmp_path / "stopped", resume=True, **settings))
    assert without_speed(rest) == without_speed(whole)[5:]
    assert_same_end(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"beta": 0.5}, "beta was 0.1 and is now 0.5"),
        ({"prompts": ["a", "b"]}, "prompts was"),
        ({"seed": 1}, "seed was 0"),
    ],
)
def test_another_run_is_not_resumed(tmp_path, change, problem):
    list(start(output_dir=tmp_path / "run", checkpoint_every=2))
    with pytest.raises(InputError, match=problem):
        start(output_dir=tmp_path / "run", checkpoint_every=2, resume=True, **change)


def test_the_reference_stays_as_it_is_and_gets_no_gradient():
    policy = opinionated_model(6)
    reference = frozen_copy(policy)
    before = copy.deepcopy(reference.state_dict())
    list(start(policy, reference=reference))
    assert all(torch.equal(before[name], weight) for name, weight in reference.state_dict().items())
    assert not torch.equal(policy.transformer.wte.weight, reference.transformer.wte.weight)


def test_a_policy_that_diverges_stops_the_run_at_its_step_with_the_weights_as_they_were():
    policy = opinionated_model(6)
    rows = start(policy, beta=1e38)  # k1 times this overflows as soon as the policy has moved
    next(rows)
    before = copy.deepcopy(policy.state_dict())
    with pytest.raises(TrainingDiverged, match="step 2: loss"):
        next(rows)
    assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"beta": -0.1}, r"beta \(if not 0\) is -0.1; expected a finite number above 0"),
        ({"beta": math.nan}, r"beta \(if not 0\) is nan"),
        ({"batch_size": 1}, "batch_size is 1; expected a whole number of at least 2"),
        ({"steps": 0}, "steps is 0; expected a whole number of at least 1"),
        ({"rows_per_forward": 0}, "rows_per_forward is 0"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"seed": -1}, "seed is -1"),
        ({"prompts": []}, r"prompts is \[\]; expected a list of texts, at least one"),
        ({"prompts": "a b"}, "prompts is 'a b'; expected a list of texts"),
    ],
)
def test_bad_arguments_are_refused_in_one_line_before_the_first_row(settings, problem):
    with pytest.raises(InputError, match=problem) as error:
        start(**settings)
    assert "\n" not in str(error.value)


def test_a_reference_that_is_the_policy_itself_is_refused():
    policy = opinionated_model(6)
    with pytest.raises(InputError, match=r"the policy itself.*frozen_copy"):
        start(policy, reference=policy)


def test_a_reward_function_that_returns_nonsense_is_refused_and_nothing_is_learnt():
    policy = opinionated_model(6)
    before = copy.deepcopy(policy.state_dict())
    with pytest.raises(InputError, match=r"returned shape \(31,\); expected \(32,\)"):
        list(start(policy, reward_fn=lambda prompts, responses: torch.zeros(len(responses) - 1)))
    assert all(torch.equal(before[name], weight) for name, weight in policy.state_dict().items())
