"""Prompts as a person can read and copy them."""

from pathlib import Path

import pytest

from dpo_notes.commands.prompts import LONGEST_IN_TABLE, command_to_sample, for_a_table


def test_of_a_long_prompt_a_table_shows_the_end():
    long = "a" * LONGEST_IN_TABLE + "?"
    assert for_a_table(["Where is Paris?", long[1:], long]) == ["Where is Paris?", long[1:], "…" + long[1:]]


def test_the_command_holds_the_prompt_that_was_asked():
    told = command_to_sample(Path("runs"), "Where is Paris?")
    assert told == f'dpo-notes sample --model {Path("runs", "model")} --prompt "Where is Paris?"'


@pytest.mark.parametrize("prompt", ["a\nb", "\x1b[2J", 'say "a"', "$(rm x)", "`a`", "a\\", "%PATH%", "!!", "a" * 81])
def test_a_prompt_that_a_shell_or_a_screen_would_change_is_left_to_the_reader(prompt):
    assert command_to_sample(Path("runs"), prompt).endswith(' --prompt "…"')
