"""The explorers of notebook 07: set the controls, read the artists and words."""

import pytest
import torch
from hands_on import press, set_to

from dpo_notes.lessons.kl_constrained_objective.explorers import PartitionBySamples, PriceOfANat, TwoCamps
from dpo_notes.maths.optimal_frontier import optimal_point
from dpo_notes.maths.optimum import log_partition, optimal_policy
from dpo_notes.worlds.reviews.flattery import ANSWERS, proxy_world

pytestmark = pytest.mark.notebooks


def test_the_dots_lie_on_the_curves_and_the_words_say_their_heights():
    explorer = set_to(TwoCamps(), tone=1.0, spread=0.8)
    for curve, dot, nats in zip(explorer.curves, explorer.dots, explorer.nats, strict=True):
        at = (explorer.grid - 1.0).abs().argmin()
        assert dot.get_ydata()[0] == pytest.approx(curve.get_ydata()[at].item(), abs=1e-9)
        assert f"{nats:.3f}" in explorer.words


def test_buttons_lead_to_a_camp_or_between_them():
    explorer = set_to(TwoCamps(), tone=3, spread=1)
    press(explorer, "Downhill on KL(speaker || corpus)")
    assert explorer.values["tone"] == pytest.approx(2, abs=0.1)
    press(explorer, "Downhill on KL(corpus || speaker)")
    assert explorer.values["tone"] == pytest.approx(0.4, abs=0.02)


def test_the_bars_are_the_optimum_and_the_strips_its_ratio_to_the_reference():
    world = proxy_world()
    explorer = set_to(PriceOfANat(world, list(ANSWERS)), beta=1.0)
    best = optimal_policy(world.reward, world.ref_log_probs, beta=1.0)
    assert [bar.get_width() for bar in explorer.bars] == pytest.approx(best.exp().tolist())
    ends = [max(strip.get_x(), strip.get_x() + strip.get_width()) for strip in explorer.factors]
    starts = [min(strip.get_x(), strip.get_x() + strip.get_width()) for strip in explorer.factors]
    ratios = (best - world.ref_log_probs).exp().tolist()
    assert ends == pytest.approx([max(ratio, 1) for ratio in ratios])
    assert starts == pytest.approx([min(ratio, 1) for ratio in ratios])


def test_the_policy_stands_on_the_tangent_whose_foot_is_beta_log_z():
    world = proxy_world()
    explorer = set_to(PriceOfANat(world, list(ANSWERS)), beta=0.5)
    earned, kl = optimal_point(world.reward, world.ref_log_probs, beta=0.5)
    (left, right), (low, high) = explorer.tangent.get_data()
    assert (high - low) / (right - left) == pytest.approx(0.5)
    assert low == pytest.approx(0.5 * log_partition(world.reward, world.ref_log_probs, beta=0.5).item())
    assert (earned - kl * 0.5).item() == pytest.approx(explorer.intercept.get_ydata()[0])
    assert f"{earned:.3f} at {kl:.3f} nats" in explorer.words


def test_a_small_beta_moves_everybody_to_the_left_though_the_mean_stays():
    explorer = set_to(PartitionBySamples(), words=5, samples=1000, beta=3.0)
    assert explorer.off.abs().max() < 0.1
    set_to(explorer, words=20, samples=100, beta=0.1)
    assert (explorer.off < 0).all()
    assert max(explorer.people.get_xdata()) < 0
    assert len(explorer.people.get_xdata()) == 200
    assert explorer.needed > 1e15
    assert "0% of them are within a tenth" in explorer.words


def test_estimates_are_right_on_average():
    off = set_to(PartitionBySamples(), words=10, samples=1000, beta=1.0).off.exp()
    assert off.mean().item() == pytest.approx(1, abs=4 * (off.std() / len(off) ** 0.5).item())


def test_extreme_values_draw_without_complaint():
    explorer = PriceOfANat(proxy_world(), list(ANSWERS))
    for beta in (0.1, 10.0):
        assert torch.tensor([bar.get_width() for bar in set_to(explorer, beta=beta).bars]).isfinite().all()
