"""The help desk of the capstone: its file has the faults it should have, and training on it shows them."""

from collections import Counter

import pytest
import torch
from tensors import seeded

from dpo_notes.maths.optimum import kl_divergence, optimal_policy
from dpo_notes.worlds.reviews import world as reviews
from dpo_notes.worlds.reviews.help_desk import (
    ANSWERS,
    HELD_OUT,
    HURRIED,
    JUDGEMENTS,
    RATERS,
    STUCK,
    Judgement,
    help_desk,
    judgements,
    train,
    worth,
)


@pytest.fixture(scope="module")
def desk():
    return help_desk()


@pytest.fixture(scope="module")
def rows(desk):
    return judgements(desk)


def test_every_prompt_has_as_many_different_grammatical_answers(desk):
    assert len(desk.prompts) == len(set(desk.prompts)) > 2 * HELD_OUT
    for prompt, answers in zip(desk.prompts, desk.answers, strict=True):
        assert len(set(answers)) == ANSWERS
        assert all(reviews.is_grammatical(prompt + answer) for answer in answers)


def test_features_count_the_words_of_an_answer(desk):
    prompt, answer = desk.prompts[0], desk.answers[0][0]
    features = dict(zip(desk.names, desk.features[0, 0].tolist(), strict=True))
    assert features["you"] == answer.lower().split().count("you")
    assert features["right country"] + features["wrong country"] == 1
    assert desk.reward[0, 0] == reviews.reward([prompt], [answer])[0]


def test_the_file_is_the_same_for_the_same_seed_and_another_for_another(desk, rows):
    assert rows == judgements(desk)
    assert rows != judgements(desk, seed=1)


def test_no_held_out_prompt_is_in_the_file(desk, rows):
    assert not {row.prompt for row in rows} & set(desk.prompts[-HELD_OUT:])


def test_the_export_got_stuck_on_one_row(rows):
    ((row, times), (_, next_times)) = Counter(rows).most_common(2)
    assert len(rows) == JUDGEMENTS + STUCK
    assert times >= STUCK > 10 * next_times
    assert "obviously" in row.chosen


def test_one_rater_goes_by_length_and_the_others_read(rows):
    kept = rows[:JUDGEMENTS]
    for rater in RATERS:
        longer = [len(r.chosen.split()) >= len(r.rejected.split()) for r in kept if r.rater == rater]
        share = sum(longer) / len(longer)
        assert share == 1 if rater == HURRIED else share < 0.7


def test_a_quarter_of_the_other_labels_is_wrong(desk, rows):
    """Among pairs whose rewards differ by 2 or more, raters without errors choose the better one in at least 88%."""
    found = []
    for row in rows[:JUDGEMENTS]:
        chosen, rejected = reviews.reward([row.prompt] * 2, [row.chosen, row.rejected]).tolist()
        if row.rater != HURRIED and abs(chosen - rejected) >= 2:
            found.append(chosen > rejected)
    share = sum(found) / len(found)  # expected: 0.75 * p + 0.25 * (1 - p) for p from 0.88 to 0.97
    assert 0.69 - 3 * (0.2 / len(found)) ** 0.5 < share < 0.735 + 3 * (0.2 / len(found)) ** 0.5


def test_the_reference_is_worth_the_mean_of_its_answers(desk):
    found = worth(desk, torch.zeros(len(desk.names), dtype=torch.float64))
    assert found.reward == pytest.approx(desk.reward[-HELD_OUT:].mean().item())
    assert found.kl == pytest.approx(0, abs=1e-12)
    assert found.words == pytest.approx(desk.lengths[-HELD_OUT:].mean().item())


def test_no_weights_beat_the_optimal_policy_at_their_kl(desk):
    """J at any beta is at most that of the optimal policy."""
    weights = torch.randn(len(desk.names), generator=seeded(), dtype=torch.float64) / 5
    found = worth(desk, weights)
    reward, reference = desk.reward[-HELD_OUT:], desk.ref_log_probs[-HELD_OUT:]
    best = optimal_policy(reward, reference, beta=0.5)
    best_j = (best.exp() * reward).sum(-1).mean() - 0.5 * kl_divergence(best, reference).mean()
    assert found.reward - 0.5 * found.kl < best_j


def test_rows_that_contradict_each_other_teach_nothing(desk, rows):
    both_ways = [*rows[:20], *(Judgement(r.prompt, r.rejected, r.chosen, r.rater) for r in rows[:20])]
    assert train(desk, both_ways, beta=0.3).abs().max() < 1e-6


def test_the_repeated_row_teaches_rudeness_and_the_measuring_rater_length(desk, rows):
    once = list(dict.fromkeys(rows))
    careful = [row for row in once if row.rater != HURRIED]
    rude = desk.names.index("obviously")
    by_all, by_once, by_careful = (train(desk, kept, beta=0.3) for kept in (rows, once, careful))
    assert by_all[rude] > 1 > by_once[rude]
    assert worth(desk, by_once).words > worth(desk, by_careful).words + 1
