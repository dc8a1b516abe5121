"""The explorers of notebook 02 show what the package computes."""

import pytest
import torch
from hands_on import set_to

from dpo_notes.lessons.ai_alignment.explorers import ImitationExplorer, TiltExplorer
from dpo_notes.maths.filtering import chosen_policy
from dpo_notes.maths.imitation import price_of_share
from dpo_notes.worlds.reviews.text_kinds import ANSWER_KINDS, answer_world

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def imitation():
    return ImitationExplorer()


@pytest.fixture(scope="module")
def tilt():
    return TiltExplorer()


def heights(explorer):
    return [bar.get_height() for bar in explorer.bars]


def test_the_policy_stands_on_the_curve_and_pays_nothing_at_the_share_in_the_data(imitation):
    set_to(imitation, data_share=0.3, count=100_000, share=0.05)
    ((x,), (y,)) = imitation.price.get_data()
    seen = imitation.seen_share(0.3, 100_000)
    assert x == 0.05 and y == pytest.approx(price_of_share(*torch.tensor([seen, 0.05]).double()).item())
    assert imitation.curve.get_ydata().min() == pytest.approx(0, abs=1e-4)
    assert imitation.line.get_xdata()[0] == pytest.approx(seen) == pytest.approx(0.3, abs=0.005)


def test_a_price_above_the_picture_is_shown_at_its_edge_and_said_in_words(imitation):
    set_to(imitation, data_share=0.5, count=100_000, share=0.005)
    assert imitation.price.get_ydata()[0] == pytest.approx(0.98 * 1.2) and "pays 1.9" in imitation.words


def test_few_demonstrations_are_imitated_with_their_accidents(imitation):
    set_to(imitation, data_share=0.2, count=10)
    assert "10 demonstrations, 10.0% of them wrong" in imitation.words


def test_the_bars_are_those_of_the_chosen_policy(tilt):
    set_to(tilt, right=3.0, courtesy=-1.0, rounds=1)
    world = answer_world(right=3.0, courtesy=-1.0)
    assert heights(tilt) == pytest.approx(chosen_policy(world.reward, world.ref_log_probs).exp().tolist())


@pytest.mark.parametrize("rounds", [0, 1, 3, 6])
def test_no_bar_passes_its_ceiling_and_one_that_always_wins_reaches_it(tilt, rounds):
    set_to(tilt, right=10.0, courtesy=6.0, rounds=rounds)
    ceilings = [segment[0][1] for segment in tilt.ceilings.get_segments()]
    assert all(height <= top + 1e-12 for height, top in zip(heights(tilt), ceilings, strict=True))
    best = ANSWER_KINDS.index(("polite", True))
    assert heights(tilt)[best] == pytest.approx(ceilings[best], abs=0.02)


def test_raters_who_feel_nothing_change_nothing(tilt):
    set_to(tilt, right=0.0, courtesy=0.0, rounds=4)
    assert heights(tilt) == pytest.approx(answer_world(right=0.0, courtesy=0.0).ref_log_probs.exp().tolist())
    assert "20.0% wrong, 25.0% polite" in tilt.words and "Reward +0.00 nats, KL from the reference 0.000" in tilt.words


def test_one_round_is_said_in_numbers(tilt):
    """Wrong: 0.2^2 + 2 * 0.2 * 0.8 * sigma(-2) = 0.078."""
    set_to(tilt, right=2.0, courtesy=0.0, rounds=1)
    assert tilt.words.startswith("After 1 round of imitating the chosen: 7.8% wrong, 25.0% polite.")
