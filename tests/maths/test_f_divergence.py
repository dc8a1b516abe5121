"""f-DPO: the score is the derivative of the divergence."""

import pytest
import torch
from tensors import doubles
from torch.autograd import grad, gradcheck

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.f_divergence import KINDS, f_divergence_score
from dpo_notes.maths.losses import dpo_loss

LOGRATIOS = doubles(2.0, -3.0, 0.6, 0.1, -1.0)
GENERATORS = {  # f of the f-divergence sum over y of pi_ref(y) f(pi(y) / pi_ref(y))
    "reverse_kl": lambda u: u * u.log(),
    "forward_kl": lambda u: -u.log(),
    "js_divergence": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
    "alpha_divergence": lambda u: (u**0.7 - 0.7 * u - 0.3) / (0.3 * (0.3 - 1)),
}


def test_every_kind_is_tested():
    assert GENERATORS.keys() == set(KINDS)


@pytest.mark.parametrize("kind", GENERATORS)
def test_the_score_is_the_derivative_of_the_divergence(kind):
    """f'(u) - f'(1) by autograd, alpha = 0.3."""
    ratio = torch.tensor([0.05, 0.5, 1.0, 3.0, 20.0], dtype=torch.float64, requires_grad=True)
    (derivative,) = grad(GENERATORS[kind](ratio).sum(), ratio)
    score = f_divergence_score(ratio.detach().log(), kind, alpha=0.3)
    torch.testing.assert_close(score, derivative - derivative[2])


def test_the_alpha_divergence_lies_between_the_two_kl_divergences():
    near_zero = f_divergence_score(LOGRATIOS, "alpha_divergence", alpha=1e-9)
    torch.testing.assert_close(near_zero, LOGRATIOS, rtol=1e-7, atol=0)
    at_one = f_divergence_score(LOGRATIOS, "alpha_divergence", alpha=1.0)
    torch.testing.assert_close(at_one, f_divergence_score(LOGRATIOS, "forward_kl"))


@pytest.mark.parametrize("kind", GENERATORS)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_scores_of_extreme_log_ratios_leave_dpo_finite_in_float32(kind, size):
    logratios = torch.tensor([size], requires_grad=True)
    loss = dpo_loss(f_divergence_score(logratios, kind), torch.zeros(1), beta=0.1)
    (gradient,) = grad(loss.sum(), logratios)
    assert loss.isfinite().all() and gradient.isfinite().all()


@pytest.mark.parametrize("kind", GENERATORS)
def test_scores_pass_gradcheck(kind):
    assert gradcheck(lambda h: f_divergence_score(h, kind, alpha=0.3), LOGRATIOS.clone().requires_grad_())


def test_another_divergence_is_refused():
    with pytest.raises(InputError, match="kind is 'kl'; expected one of reverse_kl, forward_kl"):
        f_divergence_score(LOGRATIOS, "kl")
    with pytest.raises(InputError, match="alpha is 0.0"):
        f_divergence_score(LOGRATIOS, "alpha_divergence", alpha=0.0)
