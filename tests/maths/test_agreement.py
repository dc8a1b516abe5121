"""Agreement of raters: by hand, in its limits, and against a count over all raters and pairs."""

from itertools import combinations, permutations

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.agreement import choice_agreement, right_order_by_one, right_order_by_two, score_agreement
from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.finite.raters import draw_scales, feelings, private_scores

REWARD = doubles(0.0, 1.0, 3.0)
SCORES = doubles([0.0, 2.0, 1.0], [5.0, 6.0, 9.0], [1.0, 1.0, 0.0])


def test_raters_with_equal_scores_agree_in_everything():
    same = REWARD.expand(4, 3)
    assert score_agreement(same).item() == pytest.approx(1)
    assert choice_agreement(same) == right_order_by_one(same, REWARD) == right_order_by_two(same, REWARD) == 1


def test_private_scales_spoil_the_scores_and_leave_the_choices():
    """Scores 0, 1, 3 and 100, 101, 103: the second rater's worst is above the first one's best."""
    scores = torch.stack([REWARD, REWARD + 100])
    assert score_agreement(scores) < -0.99
    assert choice_agreement(scores) == right_order_by_one(scores, REWARD) == 1
    assert right_order_by_two(scores, REWARD) == 0.5


def test_score_agreement_by_hand():
    """Scores 1, 2 and 2, 5 around the mean 2.5: a = -1.5, -0.5 and -0.5, 2.5.

    (2 * (-1.5 * -0.5) + 2 * (-0.5 * 2.5)) / (1 * (2.25 + 0.25 + 0.25 + 6.25)) = (1.5 - 2.5) / 9
    """
    assert score_agreement(torch.tensor([[1.0, 2.0], [2.0, 5.0]])).item() == pytest.approx(-1 / 9)


def test_with_many_raters_score_agreement_is_the_share_of_the_reward_in_the_variance():
    at = seeded()
    reward = torch.randn(200, generator=at, dtype=torch.float64)
    scales = draw_scales(3000, offset_spread=1.5, gain_spread=0.0, generator=at)
    scores = private_scores(feelings(reward, 3000, noise=0.5, generator=at), scales)
    share = reward.var(correction=0) / (reward.var(correction=0) + 1.5**2 + 0.5**2)
    assert score_agreement(scores).item() == pytest.approx(share.item(), rel=0.05)


def half_right(difference: float) -> float:
    return 0.5 + 0.5 * (difference > 0) - 0.5 * (difference < 0)


def test_choices_and_orders_counted_one_by_one():
    pairs, raters = list(combinations(range(3), 2)), range(3)
    choices = [
        half_right(((SCORES[j, a] - SCORES[j, b]).sign() * (SCORES[k, a] - SCORES[k, b]).sign()).item())
        for j, k in permutations(raters, 2)
        for a, b in pairs
    ]
    one = [half_right((SCORES[j, b] - SCORES[j, a]).item()) for j in raters for a, b in pairs]  # b is the better one
    two = [half_right((SCORES[k, b] - SCORES[j, a]).item()) for j, k in permutations(raters, 2) for a, b in pairs]
    assert choice_agreement(SCORES).item() == pytest.approx(sum(choices) / len(choices))
    assert right_order_by_one(SCORES, REWARD).item() == pytest.approx(sum(one) / len(one))
    assert right_order_by_two(SCORES, REWARD).item() == pytest.approx(sum(two) / len(two))


@pytest.mark.parametrize("measure", [score_agreement, choice_agreement, lambda s: right_order_by_two(s, REWARD)])
def test_one_rater_cannot_agree(measure):
    with pytest.raises(InputError, match="there are 1 raters; expected at least two"):
        measure(SCORES[:1])


def test_one_response_cannot_be_ranked():
    with pytest.raises(InputError, match="there are 1 responses; expected at least two"):
        choice_agreement(SCORES[:, :1])
