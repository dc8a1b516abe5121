"""Comparisons held out for evaluation: about the asked share, and never a prompt on both sides."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensors import seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.pairs.split import hold_out


def numbered(*prompts: object) -> list[PreferencePair]:
    """One pair for each prompt, distinguished by its number."""
    return [PreferencePair(str(prompt), str(number), "worse") for number, prompt in enumerate(prompts)]


def test_a_tenth_of_ten_pairs_is_one():
    kept, held = hold_out(numbered(*range(10)), share=0.1, limit=100, generator=seeded())
    assert (len(kept), len(held)) == (9, 1)


@given(st.lists(st.integers(0, 9), max_size=40), st.floats(0, 0.99), st.integers(0, 12), st.integers(0, 9))
def test_every_pair_is_kept_or_held_out_in_its_order_and_no_prompt_is_on_both_sides(prompts, share, limit, seed):
    pairs = numbered(*prompts)
    kept, held = hold_out(pairs, share=share, limit=limit, generator=seeded(seed))
    assert {pair.prompt for pair in kept}.isdisjoint(pair.prompt for pair in held)
    assert sorted(kept + held, key=pairs.index) == pairs
    assert kept == [pair for pair in pairs if pair in kept] and held == [pair for pair in pairs if pair in held]
    assert len(held) <= min(round(share * len(pairs)), limit)


def test_different_prompts_are_held_out_to_the_last_pair():
    pairs = numbered(*range(200))
    assert len(hold_out(pairs, share=0.15, limit=100, generator=seeded())[1]) == 30
    assert len(hold_out(pairs, share=0.15, limit=12, generator=seeded())[1]) == 12
    assert hold_out(pairs, share=0.0, limit=12, generator=seeded()) == (pairs, [])


def test_a_prompt_with_more_pairs_than_are_wanted_stays():
    """Six of eight pairs share a prompt; a share of 0.25 wants two: those of the other prompts, whatever the seed."""
    pairs = numbered("a", "b", "a", "a", "a", "c", "a", "a")
    for seed in range(10):
        assert hold_out(pairs, share=0.25, limit=9, generator=seeded(seed))[1] == [pairs[1], pairs[5]]


def test_chat_prompts_stay_together_too():
    questions = [[{"role": "user", "content": text}] for text in "abab"]
    answer, other = ([{"role": "assistant", "content": text}] for text in "xy")
    pairs = [PreferencePair(question, answer, other) for question in questions]
    kept, held = hold_out(pairs, share=0.5, limit=9, generator=seeded())
    assert len(kept) == len(held) == 2 and held[0].prompt == held[1].prompt != kept[0].prompt


def test_chance_is_the_generators_alone_and_each_pair_is_as_likely_as_another():
    """300 draws of 2 from 10: each pair is held out 60 times, give or take four times sqrt(300 * 0.2 * 0.8) = 7."""
    pairs = numbered(*range(10))
    draws = [hold_out(pairs, share=0.2, limit=9, generator=seeded(seed))[1] for seed in range(300)]
    assert draws[7] == hold_out(pairs, share=0.2, limit=9, generator=seeded(7))[1]
    assert all(abs(sum(pair in held for held in draws) - 60) < 28 for pair in pairs)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_is_at_least_0_and_below_1(share):
    with pytest.raises(InputError, match="share is .*; expected a number from 0 up to, not including, 1"):
        hold_out(numbered(1, 2), share=share, limit=9, generator=seeded())
