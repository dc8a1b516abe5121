"""A policy of a few features: which response a DPO step lifts, by autograd, by hand and over random features."""

from functools import partial

import pytest
import torch
from tensors import seeded

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.worlds.finite.log_linear import ANSWERS, CHOSEN, REJECTED, chosen_slope, dpo_path, feature_log_probs
from dpo_notes.worlds.finite.world import descend

PAIR = {"chosen": 0, "rejected": 1}


@pytest.fixture
def features():
    return torch.randn(200, 4, 2, generator=seeded(), dtype=torch.float64)


def test_two_responses_by_hand():
    """theta . phi is log 3 and 0: probabilities 3/4 and 1/4. At theta 0 the mean is halfway: slope |d|^2 / 2."""
    phi = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    probs = feature_log_probs(phi, torch.tensor([3.0, 7.0]).log()).exp()
    torch.testing.assert_close(probs, torch.tensor([0.75, 0.25]))
    assert chosen_slope(phi, torch.zeros(2), **PAIR).item() == 0.5


def test_the_slope_is_autograds(features):
    generator = seeded(1)
    for phi in features[:20]:
        theta = torch.randn(2, generator=generator, dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(feature_log_probs(phi, theta)[0], theta)
        wanted = gradient @ (phi[0] - phi[1])
        torch.testing.assert_close(chosen_slope(phi, theta.detach(), **PAIR), wanted)


def test_a_small_step_moves_the_chosen_response_as_the_slope_says(features):
    for phi in features:
        path = dpo_path(phi, **PAIR, beta=1.0, learning_rate=1e-5, steps=1)
        moved = (path[1, 0] - path[0, 0]).item()
        slope = chosen_slope(phi, torch.zeros(2, dtype=torch.float64), **PAIR).item()
        assert moved == pytest.approx(0.5e-5 * slope, rel=0.01, abs=1e-9)


def test_the_path_is_that_of_plain_descent_on_the_dpo_loss(features):
    phi = features[0]
    reference = feature_log_probs(phi, torch.zeros(2, dtype=torch.float64))

    def loss_of(theta):
        logratios = feature_log_probs(phi, theta) - reference
        return dpo_loss(logratios[:1], logratios[1:2], beta=0.7).sum()

    sgd = partial(torch.optim.SGD, lr=0.3)
    thetas = list(descend(loss_of, torch.zeros(2, dtype=torch.float64), make_optimizer=sgd, steps=5))
    wanted = torch.stack([reference, *(feature_log_probs(phi, theta) for theta in thetas)])
    torch.testing.assert_close(dpo_path(phi, **PAIR, beta=0.7, learning_rate=0.3, steps=5), wanted)


def test_the_margin_grows_at_every_step_whichever_response_falls(features):
    for phi in features[:50]:
        path = dpo_path(phi, **PAIR, beta=0.5, learning_rate=1.0, steps=10)
        assert ((path[:, 0] - path[:, 1]).diff() > 0).all()


def test_with_two_responses_the_chosen_one_never_falls(features):
    for phi in features[:50, :2]:
        path = dpo_path(phi, **PAIR, beta=1.0, learning_rate=0.5, steps=10)
        assert (path[:, 0].diff() > 0).all()


def test_in_the_example_both_fall_and_the_loss_falls_too():
    phi, names = torch.tensor(list(ANSWERS.values()), dtype=torch.float64), list(ANSWERS)
    pair = {"chosen": names.index(CHOSEN), "rejected": names.index(REJECTED)}
    path = dpo_path(phi, **pair, beta=1.0, learning_rate=0.5, steps=20)
    assert (path[:, [0, 1]].diff(dim=0) < 0).all()
    assert ((path[:, 0] - path[:, 1]).diff() > 0).all()
    assert names[path[-1].argmax()].endswith("Spain.")


def test_a_beta_or_rate_out_of_range_is_refused(features):
    for wrong in ({"beta": 0.0}, {"learning_rate": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            dpo_path(features[0], **PAIR, **({"beta": 1.0, "learning_rate": 1.0} | wrong), steps=1)
