"""The tournaments of notebook 06: true rewards, who meets whom, and the crowd that goes in circles."""

import torch

from dpo_notes.lessons.bradley_terry import tournament
from dpo_notes.worlds.reviews import text_kinds


def test_the_six_answers_are_what_their_names_say_and_in_order_of_their_reward():
    for name, answer in tournament.ANSWERS.items():
        text = tournament.PROMPT + answer
        tone, verdict = name.split(", ")
        assert text_kinds.manner_of(text) == tone
        assert text_kinds.names_right_country(text) == (verdict == "right")
    assert tournament.true_rewards().tolist() == [1.5, 1.0, 0.5, -0.5, -1.0, -1.5]


def test_who_meets_whom():
    assert tournament.everyone(3).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert tournament.chain(4).tolist() == [[0, 1], [1, 2], [2, 3]]
    assert tournament.against_third(4).tolist() == [[2, 0], [2, 1], [2, 3]]


def test_games_are_counted_both_ways():
    counts = tournament.game_counts(torch.tensor([[0, 1], [1, 0], [2, 1]]), 3)
    assert counts.tolist() == [[0, 2, 0], [2, 0, 1], [0, 1, 0]]


def test_a_crowd_of_three_equal_tastes_goes_round_in_a_circle():
    """Curt (0) beats plain (1) for two tastes of three, plain polite (2), and polite curt."""
    choices = tournament.crowd_choices([1, 1, 1]).tolist()
    assert [choices.count(pair) for pair in ([0, 1], [1, 2], [2, 0])] == [2, 2, 2]
    assert len(choices) == 9


def test_a_single_rater_ranks_as_the_taste_says():
    for place, ranking in enumerate(tournament.TASTES.values()):
        sizes = [int(place == other) for other in range(3)]
        named = [[tournament.CYCLE[item] for item in pair] for pair in tournament.crowd_choices(sizes).tolist()]
        assert named == [list(ranking[:2]), list(ranking[1:]), [ranking[0], ranking[2]]]
    assert tournament.crowd_choices([0, 0, 0]).shape == (0, 2)
