"""Rollouts: which prompts, which chance, what is cut, what the reward function may say, and per-token tensors."""

import math

import pytest
import torch
from few_words import END, WORDS, count_words, five_words, opinionated_model

from dpo_notes.language.score import response_token_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.training.rollout import Rollout, prompt_numbers, rewards_of, roll_out, rollout_metrics, stream

PROMPTS = ["a b", "c", "d a b c"] * 7
PROMPT_IDS = [tuple(WORDS.index(word) for word in prompt.split()) for prompt in PROMPTS]


def drawn(*, max_new_tokens: int = 3, seed: int = 0, reward_fn=count_words) -> Rollout:
    settings = {"max_new_tokens": max_new_tokens, "generator": torch.Generator().manual_seed(seed)}
    return roll_out(opinionated_model(6), five_words(), reward_fn, PROMPTS, PROMPT_IDS, **settings)


def by_hand(responses: list[list[int]], rewards: list[float]) -> Rollout:
    """A rollout of these responses to the prompt "a"."""
    finished = torch.tensor([ids[-1] == END for ids in responses])
    return Rollout([(1,)] * len(responses), responses, torch.tensor(rewards), finished)


def test_each_response_is_rewarded_for_its_own_prompt_and_its_words_alone():
    """End of text is no word; the texts go to the reward function in order, with the prompts as they were given."""
    heard = []

    def listening(prompts, responses):
        heard.append((list(prompts), list(responses)))
        return count_words(prompts, responses)

    rollout = drawn(reward_fn=listening)
    [(prompts, responses)] = heard
    assert prompts == PROMPTS
    assert responses == [" ".join(WORDS[token] for token in ids if token != END) for ids in rollout.response_ids]
    assert torch.equal(rollout.rewards, count_words(prompts, responses))


def test_a_response_is_unfinished_where_it_was_cut_and_rewarded_for_what_there_is():
    rollout = drawn(max_new_tokens=2)
    assert rollout.finished.tolist() == [ids[-1] == END for ids in rollout.response_ids]
    assert 0 < rollout.finished.sum() < len(rollout)
    cut = [row for row in range(len(rollout)) if not rollout.finished[row]]
    assert all(len(rollout.response_ids[row]) == 2 for row in cut)
    texts = [" ".join(WORDS[token] for token in rollout.response_ids[row]) for row in cut]
    assert torch.equal(rollout.rewards[cut], count_words(None, texts))


def test_what_is_computed_per_token_is_the_same_for_any_number_of_rows_at_a_time():
    """Rows come back in their own order, at the places of their tokens, and 0 elsewhere."""
    rollout, model = drawn(), opinionated_model(10)
    whole = rollout.batch()
    with torch.no_grad():
        expected = response_token_logps(model, whole)
    assert (expected[whole.response_mask] < 0).all() and not expected[~whole.response_mask].any()
    for size in (1, 4, 100):
        (logps,) = rollout.per_token(lambda batch: (response_token_logps(model, batch),), size=size)
        torch.testing.assert_close(logps, expected, rtol=1e-5, atol=1e-6)
        assert not logps.requires_grad
    both = lambda batch: (batch.response_mask[..., None].expand(-1, -1, 5), batch.input_ids)
    states, ids = rollout.per_token(both, size=4)
    assert torch.equal(states, whole.response_mask[..., None].expand(-1, -1, 5))
    assert torch.equal(ids[whole.response_mask], whole.input_ids[whole.response_mask])


def test_microbatches_hold_each_row_once_and_like_lengths_together():
    rollout = drawn()
    parts = rollout.microbatches(range(2, 21), 4)
    assert sorted(row for part in parts for row in part) == list(range(2, 21))
    assert [len(part) for part in parts] == [4, 4, 4, 4, 3]
    lengths = [rollout.lengths[row] for part in parts for row in part]
    assert lengths == sorted(lengths)


def test_metrics_by_hand():
    """Two responses: "a <end>" of reward 2 with k1 0.5 and 0.1, "b b b" (cut) of reward -1 with k1 -0.2 each.

    KL (0.6 - 0.6) / 2 = 0; objective 0.5 - 2 * 0; five tokens of -log pi 1, 2, 3, 4, 5: entropy 3.
    """
    rollout = by_hand([[1, END], [2, 2, 2]], [2.0, -1.0])
    logps = -torch.tensor([[0.0, 1, 2, 0], [0, 3, 4, 5]])
    kl = torch.tensor([[0, 0.5, 0.1, 0], [0, -0.2, -0.2, -0.2]])
    metrics = rollout_metrics(rollout, logps, kl, beta=2.0)
    expected = {"reward": 0.5, "kl": 0.0, "objective": 0.5, "entropy": 3.0, "length": 2.5, "unfinished": 0.5}
    assert metrics == pytest.approx(expected, abs=1e-6)
    assert rollout_metrics(rollout, logps, kl + 0.1, beta=2.0)["objective"] == pytest.approx(0.5 - 2 * 0.4)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (torch.zeros(3), r"returned shape \(3,\); expected \(2,\), one number per response"),
        (torch.zeros(2, 1), r"returned shape \(2, 1\)"),
        (torch.tensor(1.0), r"returned shape \(\)"),
        (torch.tensor([0.0, math.nan]), "the reward of 'so' to 'what' is nan; expected a finite number"),
        (torch.tensor([-math.inf, 0.0]), "the reward of 'yes' to 'why' is -inf"),
    ],
)
def test_a_reward_function_that_does_not_give_one_finite_number_per_response_is_refused(given, problem):
    with pytest.raises(InputError, match=problem):
        rewards_of(lambda prompts, responses: given, ["why", "what"], ["yes", "so"])


def test_rewards_are_constants_of_any_kind():
    """Whole numbers, float64, or something with a gradient: float32 without one."""
    weight = torch.ones(2, dtype=torch.float64, requires_grad=True)
    for given in (torch.ones(2, dtype=torch.int64), weight, weight.float()):
        rewards = rewards_of(lambda *_, given=given: given, ["a"] * 2, ["b"] * 2)
        assert torch.equal(rewards, torch.ones(2)) and not rewards.requires_grad


def test_all_prompts_come_once_before_any_comes_again():
    """5 prompts, 3 a step: 15 steps' numbers are 9 times through them, in orders that differ."""
    numbers = [n for step in range(1, 16) for n in prompt_numbers(5, batch_size=3, seed=0, step=step)]
    rounds = [numbers[start : start + 5] for start in range(0, 45, 5)]
    assert all(sorted(order) == list(range(5)) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 5


def test_a_batch_may_be_larger_than_the_list_of_prompts():
    assert sorted(prompt_numbers(2, batch_size=7, seed=0, step=1)) in ([0] * 3 + [1] * 4, [0] * 4 + [1] * 3)
    assert prompt_numbers(1, batch_size=3, seed=0, step=9) == [0, 0, 0]


def test_steps_have_their_prompts_and_their_chance_whatever_came_before():
    """Neither depends on a call before it; each purpose, seed and number has a stream of its own."""
    assert prompt_numbers(50, batch_size=8, seed=3, step=12) == prompt_numbers(50, batch_size=8, seed=3, step=12)
    assert prompt_numbers(50, batch_size=8, seed=3, step=12) != prompt_numbers(50, batch_size=8, seed=4, step=12)
    keys = [(0, "order", 1), *((seed, "rollout", n) for seed, n in ((0, 1), (0, 2), (1, 1), (11, 1), (1, 11)))]
    assert len({torch.rand(1, generator=stream(*key)).item() for key in keys}) == len(keys)
    assert torch.equal(torch.rand(5, generator=stream(7, "x", 2)), torch.rand(5, generator=stream(7, "x", 2)))
