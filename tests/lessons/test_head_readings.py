"""Where a reward head may read: against `reward_of`, transformers' own rule, and by hand."""

import pytest
import torch

from dpo_notes.language.reward_head import new_reward_model, reward_of
from dpo_notes.lessons.reward_model.head_readings import (
    last_by_id,
    last_by_length,
    last_column,
    last_states,
    pad,
    rewards_everywhere,
)
from dpo_notes.maths.errors import InputError

PROMPT, RESPONSE = "Where is Paris?", " It is in France."


@pytest.fixture
def scored(tiny_model, tiny_tokenizer):
    """A reward model with a random head, its tokenizer, and the ids of one ended text."""
    reward_model, tokenizer = new_reward_model(tiny_model, tiny_tokenizer)
    torch.nn.init.normal_(reward_model.score.weight, generator=torch.Generator().manual_seed(0))
    ids = tokenizer(PROMPT)["input_ids"] + tokenizer(RESPONSE)["input_ids"] + [tokenizer.eos_token_id]
    return reward_model, tokenizer, ids


def test_padding_by_hand():
    padded = pad([7, 8], padding_id=0, left=2, right=1)
    assert padded.ids.tolist() == [0, 0, 7, 8, 0]
    assert padded.mask.tolist() == [False, False, True, True, False]
    assert padded.positions.tolist() == [0, 0, 0, 1, 2]


@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 5), (5, 0), (3, 4)])
def test_at_the_last_own_token_the_head_says_the_reward_of_the_text_whatever_the_padding(scored, left, right):
    reward_model, tokenizer, ids = scored
    padded = pad(ids, padding_id=tokenizer.eos_token_id, left=left, right=right)
    at_last = rewards_everywhere(reward_model, padded)[last_by_length(padded)]
    torch.testing.assert_close(at_last[None], reward_of(reward_model, tokenizer, [PROMPT], [RESPONSE]))


def test_left_padding_without_positions_changes_the_reward(scored):
    reward_model, tokenizer, ids = scored
    padded = pad(ids, padding_id=tokenizer.eos_token_id, left=5)
    blind = padded._replace(positions=torch.arange(len(padded.ids)))
    there, here = (rewards_everywhere(reward_model, p)[-1].item() for p in (padded, blind))
    assert abs(there - here) > 1e-2


def test_the_rules_pick_by_hand():
    """Padding is end of text, 0. Own tokens 7, 8, 0: by id the search stops at the 8."""
    on_the_right, on_the_left = pad([7, 8, 0], padding_id=0, right=2), pad([7, 8, 0], padding_id=0, left=2)
    assert [rule(on_the_right) for rule in (last_by_length, last_column)] == [2, 4]
    assert [rule(on_the_left) for rule in (last_by_length, last_column)] == [4, 4]
    assert [last_by_id(padded, padding_id=0) for padded in (on_the_right, on_the_left)] == [1, 3]
    assert last_by_id(on_the_right, padding_id=9) == 4
    assert last_by_id(pad([0], padding_id=0, right=2), padding_id=0) == 0


@pytest.mark.parametrize("right", [0, 3])
def test_last_by_id_is_the_rule_of_transformers(scored, right):
    reward_model, tokenizer, ids = scored
    padded = pad(ids, padding_id=tokenizer.eos_token_id, right=right)
    reward_model.config.pad_token_id = tokenizer.eos_token_id
    theirs = reward_model(input_ids=padded.ids[None], attention_mask=padded.mask[None].long()).logits[0, 0]
    ours = rewards_everywhere(reward_model, padded)[last_by_id(padded, padding_id=tokenizer.eos_token_id)]
    torch.testing.assert_close(theirs, ours)


def test_nothing_cannot_be_padded():
    with pytest.raises(InputError, match="no token"):
        pad([], padding_id=0)


def test_last_states_times_the_head_are_the_rewards(scored, tiny_pairs):
    reward_model, tokenizer, _ = scored
    for side, states in zip(("chosen", "rejected"), last_states(reward_model, tokenizer, tiny_pairs), strict=True):
        texts = [getattr(pair, side) for pair in tiny_pairs]
        rewards = reward_of(reward_model, tokenizer, [pair.prompt for pair in tiny_pairs], texts)
        torch.testing.assert_close(states @ reward_model.score.weight[0], rewards)
