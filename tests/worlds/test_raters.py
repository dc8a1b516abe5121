"""Raters with private scales: by hand, in the limit of many draws, and against a numerical integral."""

import math

import pytest
import torch
from tensors import doubles, seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.worlds.finite.raters import Scales, draw_scales, feelings, private_scores, right_order_probability

REWARD = doubles(-1.0, 0.0, 2.0)


def test_scores_by_hand():
    """A severe rater of small words and a lenient one of strong words: 1 + 0.5 * felt, and 4 + 3 * felt."""
    felt = doubles([1.0, 2.0], [1.0, 2.0])
    scales = Scales(*doubles([1.0, 4.0], [0.5, 3.0]))
    assert private_scores(felt, scales).tolist() == [[1.5, 2.0], [7.0, 10.0]]


def test_without_spread_and_noise_every_score_is_the_reward():
    scales = draw_scales(4, offset_spread=0.0, gain_spread=0.0, generator=seeded())
    felt = feelings(REWARD, 4, noise=0.0, generator=seeded())
    assert torch.equal(private_scores(felt, scales), REWARD.expand(4, 3))


def test_offsets_are_0_and_gains_1_on_average_with_the_spreads_that_were_asked_for():
    scales = draw_scales(200_000, offset_spread=2.0, gain_spread=0.5, generator=seeded())
    assert scales.offset.mean().item() == pytest.approx(0, abs=0.02)
    assert scales.offset.std().item() == pytest.approx(2, rel=0.01)
    assert scales.gain.mean().item() == pytest.approx(1, rel=0.01)
    assert scales.gain.log().std().item() == pytest.approx(0.5, rel=0.01)
    assert (scales.gain > 0).all()


def test_a_spread_scales_the_same_draws():
    wide, narrow = (draw_scales(5, offset_spread=s, gain_spread=0.0, generator=seeded()) for s in (3.0, 1.0))
    torch.testing.assert_close(wide.offset, 3 * narrow.offset)
    loud, calm = (feelings(REWARD, 5, noise=s, generator=seeded()) - REWARD for s in (3.0, 1.0))
    torch.testing.assert_close(loud, 3 * calm)


def test_a_turned_scale_is_refused():
    with pytest.raises(InputError, match="the smallest gain is -1"):
        private_scores(torch.zeros(1, 2), Scales(torch.zeros(1), -torch.ones(1)))


@pytest.mark.parametrize(
    "spreads", [{"offset_spread": -1.0, "gain_spread": 0.0}, {"offset_spread": 0.0, "gain_spread": -1.0}]
)
def test_a_negative_spread_is_refused(spreads):
    with pytest.raises(InputError, match="is -1.0; expected a number from 0"):
        draw_scales(2, **spreads, generator=seeded())


def test_the_better_one_wins_half_of_the_time_where_nothing_tells_them_apart():
    assert right_order_probability(torch.zeros(1, dtype=torch.float64), noise=1.0).item() == 0.5


@pytest.mark.parametrize(("offset_spread", "scores"), [(0.0, 1), (1.5, 1), (1.5, 4)])
def test_the_probability_of_the_right_order_is_the_share_of_many_draws(offset_spread, scores):
    """Each of the 2n scores by another rater, or, without offsets, by the same one."""
    count, at = 100_000, seeded()
    means = []
    for reward in (1.2, 0.0):
        felt = feelings(doubles(reward), count * scores, noise=1.0, generator=at).squeeze(1)
        scales = draw_scales(count * scores, offset_spread=offset_spread, gain_spread=0.0, generator=at)
        means.append((felt + scales.offset).view(count, scores).mean(dim=1))
    share = (means[0] > means[1]).double().mean().item()
    expected = right_order_probability(doubles(1.2), noise=1.0, offset_spread=offset_spread, scores=scores)
    assert share == pytest.approx(expected.item(), abs=4 * math.sqrt(0.25 / count))


@pytest.mark.parametrize("bad", [{"noise": 0.0}, {"noise": 1.0, "offset_spread": -1.0}, {"noise": 1.0, "scores": 0}])
def test_what_has_no_probability_is_refused(bad):
    with pytest.raises(InputError):
        right_order_probability(torch.ones(1), **bad)
