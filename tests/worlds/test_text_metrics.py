"""Metrics of responses, by hand."""

import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.reviews.text_metrics import Overheard, response_metrics
from dpo_notes.worlds.reviews.world import reward


def test_by_hand():
    """Rewards 1 and 1 + 2 * 0.5; one of two grammatical; 2 and 3 words; of 5 words 3 differ: In, France., superb."""
    row = response_metrics(["Where is Paris?"] * 2, [" In France.", " France. superb superb"])
    assert row == {"reward": 1.5, "grammatical": 0.5, "words": 2.5, "distinct": 3 / 5}


def test_an_empty_response_has_no_words():
    assert response_metrics(["Where is Paris?"], [""]) == {"reward": 0, "grammatical": 0, "words": 0, "distinct": 0}


def test_nothing_to_look_at_is_refused():
    with pytest.raises(InputError, match="at least one"):
        response_metrics([], [])


def test_a_reward_function_overheard_gives_the_same_and_keeps_what_it_saw():
    heard = Overheard(reward)
    assert heard(["Where is Paris?"], [" In Spain."]).tolist() == [-1]
    assert (heard.prompts, heard.responses) == (["Where is Paris?"], [" In Spain."])


def test_each_row_of_a_loop_gets_the_metrics_of_its_step():
    heard = Overheard(reward)

    def loop():
        for step, answer in enumerate([" In Spain.", " In France."], start=1):
            heard(["Where is Paris?"], [answer])
            yield {"step": step}

    assert [(row["step"], row["reward"]) for row in heard.beside(loop())] == [(1, -1), (2, 1)]
