"""A prompt that is only the common beginning: cut at a border, with nothing lost and no word split."""

import random

import pytest

from dpo_notes.pairs.common_prefix import message_border, text_border
from dpo_notes.pairs.messages import Message

HH = "\n\nHuman: Hi\n\nAssistant:"
TURN, WORD = r"after the last '\n\nAssistant:'", "at a word border"
BORDERS = {
    "turn": (f"{HH} Yes, I can", f"{HH} Yes, you", HH, TURN),
    "last turn": (f"{HH} Yes{HH} No", f"{HH} Yes{HH}no", f"{HH} Yes{HH}", TURN),
    "turn and the other": (f"{HH} Yes", f"{HH} Yes, yes", HH, TURN),
    "word": ("Is it good", "Is it great", "Is it", WORD),
    "two spaces": ("Is it  a", "Is it  b", "Is it ", WORD),
    "line": ("Is it?\nYes", "Is it?\nYellow", "Is it?\n", WORD),
    "line and space": ("Is it?\n Yes", "Is it?\n No", "Is it?\n", WORD),
    "word and the other": ("Is it so", "Is it something", "Is it", WORD),
    "first word": ("Yes", "Yellow", "", "before the first word, so that it is empty,"),
}


@pytest.mark.parametrize(("chosen", "rejected", "prompt", "words"), BORDERS.values(), ids=BORDERS)
def test_the_prompt_ends_after_the_last_shared_turn_or_else_at_a_word(chosen, rejected, prompt, words):
    for border in (text_border(chosen, rejected), text_border(rejected, chosen)):
        assert border == (len(prompt), words)
    assert chosen.startswith(prompt) and rejected.startswith(prompt)


def test_no_word_is_split_and_the_prompt_is_shared():
    """500 random texts with a common start: at the border one side is blank, in both texts."""
    generator = random.Random(2)
    for _ in range(500):
        shared, *ends = ("".join(generator.choices("ab \n\u3000.", k=generator.randint(0, 9))) for _ in range(3))
        chosen, rejected = f"{shared}a{ends[0]}", f"{shared}b{ends[1]}"
        cut, _ = text_border(chosen, rejected)
        assert chosen[:cut] == rejected[:cut] == shared[:cut]
        assert cut == 0 or chosen[cut - 1] == "\n" or (chosen[cut].isspace() and rejected[cut].isspace())
        assert not any(letter.isspace() for letter in shared[cut + 1 :])  # and it is the last such border


def test_conversations_part_at_their_first_different_message():
    chosen = (Message("user", "q"), Message("assistant", "a"))
    rejected = (Message("user", "q"), Message("assistant", "b"))
    assert message_border(chosen, rejected) == (1, "after the last message in common")
    assert message_border(chosen[1:], rejected[1:])[0] == 0
