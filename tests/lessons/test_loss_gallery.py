"""The family on one stage, and its pictures."""

import pytest
import torch

from dpo_notes.lessons.beyond_dpo.loss_gallery import GALLERY, kto_at_zero, scaled
from dpo_notes.lessons.beyond_dpo.pictures import family_picture, twin_curves
from dpo_notes.maths.loss_family import apo_zero_loss
from dpo_notes.training.preference_loss import LOSSES
from dpo_notes.worlds.finite.two_answers import leading_margin

pytestmark = pytest.mark.notebooks
HERE = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64)


def test_every_loss_of_the_command_line_is_in_it_but_the_one_that_is_dpo_for_one_pair():
    assert set(LOSSES) - set(GALLERY) == {"aot"}


@pytest.mark.parametrize("name", GALLERY)
def test_every_loss_begins_at_zero_with_the_same_push(name):
    loss, push = scaled(name, torch.zeros(1, dtype=torch.float64), beta=0.5, preference=0.8)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    sign = -1 if name == "discopop" else 1  # its first steps go the wrong way
    if name != "dpop":  # it has a corner here, and autograd takes the fine's slope to be 0
        assert push.item() == pytest.approx(sign * 0.6)


def test_one_over_two_is_cpo_without_its_likelihood():
    """Without a reference the two answers have the log-probabilities of a uniform one: the preference terms agree."""
    loss = GALLERY["cpo"](HERE, -HERE, beta=0.5)
    torch.testing.assert_close(loss, GALLERY["dpo"](HERE, -HERE, beta=0.5) - (HERE - torch.tensor(2.0).double().log()))


def test_kto_begins_as_apo_zero():
    torch.testing.assert_close(kto_at_zero(HERE, -HERE, beta=0.5), apo_zero_loss(HERE, -HERE, beta=0.5))


def test_the_family_picture_says_where_each_loss_leads():
    figure = family_picture(beta=1.0, preference=0.8)
    titles = {ax.get_title() for ax in figure.axes if ax.axison}
    assert len(titles) == len(GALLERY)
    assert f"ipo → {leading_margin(GALLERY['ipo'], beta=1.0, preference=0.8):.2f}" in titles
    assert "apo-zero → ∞" in titles


def test_twin_curves_draw_both_runs():
    rows = [{"step": k, "ours/loss": 1.0 / k, "trl/loss": 1.0 / k + 1e-6} for k in (1, 2, 3)]
    (ax,) = twin_curves(rows, {"loss": "loss (nats)"}).axes
    ours, theirs = (list(line.get_ydata()) for line in ax.get_lines())
    assert ours == [1, 0.5, 1 / 3]
    assert theirs == pytest.approx(ours, abs=1e-5)
    assert ax.get_title() == "loss (nats)"
