"""One comparison taken step by step: the two faces of beta, by autograd, by hand and in closed form."""

from functools import partial

import pytest
import torch
from tensors import doubles

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.worlds.finite.one_comparison import margin_paths, resting_margin
from dpo_notes.worlds.finite.world import FiniteWorld, descend, fit_dpo

BETAS = doubles(0.05, 0.1, 0.5, 1.0, 2.0)
HALF = doubles(0.5, 0.5).log()
SGD, ADAM = partial(torch.optim.SGD, lr=0.5), partial(torch.optim.Adam, lr=0.05)


def by_autograd(beta, make_optimizer, *, probability, steps):
    """The margins after each step, with the loss differentiated by autograd through the softmax."""

    def loss_of(logits):
        first, second = (logits.log_softmax(0) - HALF)[:, None]
        right, wrong = dpo_loss(first, second, beta=beta), dpo_loss(second, first, beta=beta)
        return (probability * right + (1 - probability) * wrong).sum()

    path = descend(loss_of, torch.zeros_like(HALF), make_optimizer=make_optimizer, steps=steps)
    return torch.stack([logits[0] - logits[1] for logits in path])


@pytest.mark.parametrize("make_optimizer", [SGD, ADAM])
@pytest.mark.parametrize("probability", [1.0, 0.8])
def test_every_column_is_a_descent_of_its_own_by_autograd(make_optimizer, probability):
    paths = margin_paths(BETAS, make_optimizer=make_optimizer, steps=20, probability=probability)
    for column, beta in enumerate(BETAS.tolist()):
        wanted = by_autograd(beta, make_optimizer, probability=probability, steps=20)
        torch.testing.assert_close(paths[1:, column], wanted, rtol=1e-9, atol=1e-12)


def test_the_first_plain_step_is_learning_rate_times_beta():
    torch.testing.assert_close(margin_paths(BETAS, make_optimizer=SGD, steps=1)[1], 0.5 * BETAS)


def test_the_margins_of_the_curriculum():
    sgd, adam = (margin_paths(BETAS, make_optimizer=make, steps=50)[-1] for make in (SGD, ADAM))
    assert sgd.tolist() == pytest.approx([1.23, 2.35, 4.85, 3.89, 2.67], abs=0.005)
    assert adam[[0, -1]].tolist() == pytest.approx([4.92, 2.34], abs=0.005)
    assert (adam.diff() < 0).all()


def test_with_raters_who_disagree_the_margin_converges_to_the_resting_margin():
    """logit(0.8) = log 4."""
    rest = resting_margin(BETAS, probability=0.8)
    torch.testing.assert_close(rest, torch.tensor(4.0, dtype=torch.float64).log() / BETAS)
    paths = margin_paths(BETAS[2:], make_optimizer=SGD, steps=800, probability=0.8)
    torch.testing.assert_close(paths[-1], rest[2:], rtol=1e-8, atol=0)


def test_the_resting_margin_is_where_the_population_loss_is_least():
    world = FiniteWorld(doubles(0.7, 0.3).log(), HALF)
    logratios = fit_dpo(world, beta=0.5) - HALF
    wanted = resting_margin(BETAS[2:3], probability=0.7)[0]
    torch.testing.assert_close(logratios[0] - logratios[1], wanted, rtol=1e-6, atol=0)


def test_there_is_no_resting_margin_where_all_agree():
    assert resting_margin(BETAS, probability=1.0).isposinf().all()
    assert (margin_paths(BETAS, make_optimizer=SGD, steps=300).diff(dim=0) > 0).all()


@pytest.mark.parametrize("betas, probability, message", [([0.0], 1.0, "betas"), ([1.0], 1.2, "probability is 1.2")])
def test_numbers_out_of_range_are_refused(betas, probability, message):
    betas = torch.tensor(betas)
    with pytest.raises(InputError, match=message):
        margin_paths(betas, make_optimizer=SGD, steps=1, probability=probability)
    with pytest.raises(InputError, match=message):
        resting_margin(betas, probability=probability)
