"""The explorers of notebook 12: set the controls, read the artists and words."""

import math

import pytest
import torch
from hands_on import set_to

from dpo_notes.lessons.beyond_dpo.explorers import Family, NoisyLabels
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.maths.optimum import optimal_policy
from dpo_notes.worlds.finite.world import FiniteWorld, fit_dpo

pytestmark = pytest.mark.notebooks


@pytest.fixture(scope="module")
def family():
    return Family()


@pytest.fixture
def world():
    reward = torch.tensor([1.6, 0.0, -1.6], dtype=torch.float64)
    return FiniteWorld(reward, torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log())


def heights(explorer, name):
    return torch.tensor([bar.get_height() for bar in explorer.bars[name]], dtype=torch.float64)


def test_the_push_crosses_zero_at_the_mark(family):
    set_to(family, loss="cdpo", beside="dpo", beta=0.5, preference=0.9)
    x, y = (torch.as_tensor(axis) for axis in family.lines[1].get_data())
    crossing = x[(y > 0).sum() - 1]
    ((goal,), _) = family.goals[0].get_data()
    assert goal == pytest.approx(crossing.item(), abs=0.06)
    ((beside,), _) = family.goals[1].get_data()
    assert beside == pytest.approx(math.log(9))


def test_certain_labels_take_dpos_mark_away_and_leave_ipos(family):
    set_to(family, loss="ipo", beside="dpo", beta=0.5, preference=1.0)
    assert len(family.goals[1].get_xdata()) == 0
    assert family.goals[0].get_xdata()[0] == pytest.approx(0.5)
    assert "ipo leads to a margin of 1.00 nats; dpo leads to a margin without end" in family.words


def test_the_same_loss_twice_is_said_once(family):
    set_to(family, loss="dpo", beside="dpo")
    assert family.words.count("leads to") == 1


def test_without_wrong_labels_dpo_and_robust_are_right(world):
    explorer = set_to(NoisyLabels(world), flips=0.0, assumed=0.0, beta=1.0)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=1.0).exp()
    for name in ("DPO", "cDPO", "robust"):
        torch.testing.assert_close(heights(explorer, name), best, rtol=0, atol=1e-6)
    assert "DPO is 0.000 nats off" in explorer.words
    x, y = explorer.dots["DPO"].get_data()
    assert y.tolist() == pytest.approx(x.tolist(), abs=1e-6)  # on the line


def test_robust_alone_is_right_with_wrong_labels_and_cautious_losses_stay_nearer_to_the_reference(world):
    explorer = set_to(NoisyLabels(world), flips=0.3, assumed=0.3, beta=0.5)
    assert explorer.off["robust"] < 1e-6 < explorer.off["DPO"] < explorer.off["cDPO"]


def test_a_fit_at_beta_one_serves_every_beta(world):
    explorer = set_to(NoisyLabels(world), flips=0.0, assumed=0.0, beta=0.4)
    beta = explorer.values["beta"]
    direct = fit_dpo(world, beta=beta, loss_fn=dpo_loss).exp()
    torch.testing.assert_close(heights(explorer, "DPO"), direct, rtol=0, atol=1e-6)


def test_robust_told_of_too_many_wrong_labels_has_nowhere_to_go(world):
    explorer = set_to(NoisyLabels(world), flips=0.0, assumed=0.4)
    assert "robust runs away without end" in explorer.words
    assert heights(explorer, "robust").sum() == 0
    assert "robust is 0.000 nats off" in set_to(explorer, flips=0.4).words
