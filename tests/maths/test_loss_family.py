"""The relatives of DPO, by hand, against DPO, and at their limits."""

import inspect
import math
from functools import partial

import pytest
import torch
from tensors import doubles
from torch.autograd import grad, gradcheck

from dpo_notes.maths import loss_family
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.loss_family import (
    aot_loss,
    apo_down_loss,
    apo_zero_loss,
    bco_loss,
    discopop_loss,
    dpop_loss,
    exo_loss,
    hinge_loss,
    ipo_loss,
    nca_loss,
    robust_loss,
    sppo_loss,
)
from dpo_notes.maths.losses import dpo_loss

CHOSEN = doubles(2.0, -3.0, 0.6, 0.1, -1.0)
REJECTED = doubles(-1.0, 1.0, 0.5, -2.5, -4.0)
LOG_2 = math.log(2)

# Losses that see the difference of the two log-ratios only.
OF_THE_MARGIN = {
    "ipo": ipo_loss,
    "hinge": hinge_loss,
    "robust": partial(robust_loss, label_smoothing=0.1),
    "exo": partial(exo_loss, label_smoothing=0.1),
    "discopop": discopop_loss,
}
# Losses that see each of the two.
OF_BOTH = {
    "nca": nca_loss,
    "bco": bco_loss,
    "bco shifted": partial(bco_loss, reward_shift=0.3),
    "sppo": sppo_loss,
    "apo_zero": apo_zero_loss,
    "apo_down": apo_down_loss,
    "dpop": partial(dpop_loss, penalty=2.0),
}
PAIRED = OF_THE_MARGIN | OF_BOTH
WITH_REFERENCE = PAIRED | {"aot": aot_loss}
# A loss that overflows in float32: up to which log-ratio it is finite at beta 1, as its docstring says. Others: 1e4.
FINITE_TO: dict[str, float] = {}
# Losses without a reference are in REFERENCE_FREE of test_reference_free.py, and KTO has its tests in test_unpaired.py.
ELSEWHERE = {"cpo_loss", "orpo_loss", "simpo_loss", "kto_loss"}


def softplus(x: float) -> float:
    """-log sigma(-x), by the plain formula."""
    return math.log(1 + math.exp(x))


def sigma(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# Log-ratios 2 and -1, beta 0.5: rewards 1 and -0.5, margin 1.5, difference 3, 1 / (2 beta) = 1.
ONE_PAIR = [
    (ipo_loss, (3 - 1) ** 2),
    (hinge_loss, 0.0),
    (partial(robust_loss, label_smoothing=0.1), (0.9 * softplus(-1.5) - 0.1 * softplus(1.5)) / 0.8),
    (
        partial(exo_loss, label_smoothing=0.1),
        sigma(1.5) * math.log(sigma(1.5) / 0.9) + sigma(-1.5) * math.log(sigma(-1.5) / 0.1),
    ),
    (nca_loss, softplus(-1) + (softplus(1) + softplus(-0.5)) / 2),
    (bco_loss, softplus(-1) + softplus(-0.5)),
    (partial(bco_loss, reward_shift=0.3), softplus(-0.7) + softplus(-0.8)),
    (sppo_loss, (2 - 1) ** 2 + (-1 + 1) ** 2),
    (apo_zero_loss, 1 - sigma(1) + sigma(-0.5)),
    (apo_down_loss, sigma(1) + 1 - sigma(1.5)),
    (
        partial(discopop_loss, tau=2.0),
        (1 - sigma(1.5 / 2)) * softplus(-1.5) + sigma(1.5 / 2) * math.exp(-1.5),
    ),
    (dpop_loss, softplus(-1.5)),
    (aot_loss, softplus(-1.5)),
]
# Both log-ratios 0, beta 0.5.
AT_THE_REFERENCE = [
    (ipo_loss, 1 / (4 * 0.5**2)),
    (hinge_loss, 1.0),
    (partial(robust_loss, label_smoothing=0.1), LOG_2),
    (exo_loss, -LOG_2 - math.log(1e-3 * (1 - 1e-3)) / 2),
    (nca_loss, 2 * LOG_2),
    (bco_loss, 2 * LOG_2),
    (sppo_loss, 1 / (2 * 0.5**2)),
    (apo_zero_loss, 1.0),
    (apo_down_loss, 1.0),
    (discopop_loss, (LOG_2 + 1) / 2),
    (dpop_loss, LOG_2),
    (aot_loss, LOG_2),
]


def bare(loss_fn):
    """A loss without the settings that it was given beforehand."""
    return loss_fn.func if isinstance(loss_fn, partial) else loss_fn


def sign_of_gradient(loss_fn, chosen: torch.Tensor, rejected: torch.Tensor) -> list[list[float]]:
    inputs = chosen.clone().requires_grad_(), rejected.clone().requires_grad_()
    return [gradient.sign().tolist() for gradient in grad(loss_fn(*inputs, beta=0.5).sum(), inputs)]


def test_the_family_is_importable_from_one_place():
    assert all(inspect.isfunction(getattr(loss_family, name)) for name in loss_family.__all__)


def test_every_loss_goes_through_the_common_tests():
    """But those ELSEWHERE."""
    lists = {
        "OF_THE_MARGIN (it sees the difference of the log-ratios only) or OF_BOTH (it sees each)": WITH_REFERENCE.values(),
        "ONE_PAIR (its value for one pair, by hand)": [loss_fn for loss_fn, _ in ONE_PAIR],
        "AT_THE_REFERENCE (its value where both log-ratios are 0)": [loss_fn for loss_fn, _ in AT_THE_REFERENCE],
    }
    losses = [name for name in loss_family.__all__ if name.endswith("_loss") and name not in ELSEWHERE]
    lacking = [
        f"{name} is not in {words}: add it there, in tests/maths/test_loss_family.py"
        for name in losses
        for words, tried in lists.items()
        if getattr(loss_family, name) not in map(bare, tried)
    ]
    assert not lacking, "\n".join(lacking)


@pytest.mark.parametrize(("loss_fn", "by_hand"), ONE_PAIR)
def test_one_pair_by_hand(loss_fn, by_hand):
    assert loss_fn(doubles(2.0), doubles(-1.0), beta=0.5).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(("loss_fn", "value"), AT_THE_REFERENCE)
def test_value_where_policy_equals_reference(loss_fn, value):
    zeros = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(loss_fn(zeros, zeros, beta=0.5), torch.full_like(zeros, value))


@pytest.mark.parametrize("name", WITH_REFERENCE)
def test_loss_passes_gradcheck(name):
    inputs = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    assert gradcheck(lambda w, x: WITH_REFERENCE[name](w, x, beta=0.4), inputs)


@pytest.mark.parametrize("name", OF_THE_MARGIN)
def test_a_loss_of_the_margin_ignores_a_shift_of_both(name):
    loss_fn = OF_THE_MARGIN[name]
    torch.testing.assert_close(loss_fn(CHOSEN + 4, REJECTED + 4, beta=0.3), loss_fn(CHOSEN, REJECTED, beta=0.3))


@pytest.mark.parametrize("name", OF_BOTH)
def test_a_loss_of_both_log_ratios_sees_a_shift_of_both(name):
    """This is what holds up the chosen response where DPO lets both fall. (The shift is down: DPO-P fines that.)"""
    loss_fn = OF_BOTH[name]
    change = loss_fn(CHOSEN - 4, REJECTED - 4, beta=0.3) - loss_fn(CHOSEN, REJECTED, beta=0.3)
    assert change.abs().min() > 1e-3


@pytest.mark.parametrize("name", PAIRED)
def test_pairs_do_not_mix(name):
    """The gradient of loss i by the log-ratios of pair j is 0 for i other than j."""
    loss_fn = partial(PAIRED[name], beta=0.3)
    for jacobian in torch.autograd.functional.jacobian(loss_fn, (CHOSEN, REJECTED)):
        assert torch.equal(jacobian, torch.diag(jacobian.diagonal()))


@pytest.mark.parametrize("name", WITH_REFERENCE)
@pytest.mark.parametrize("side", [1, -1])
def test_log_ratios_of_ten_thousand_stay_finite_in_float32(name, side):
    """Or those up to which the loss's docstring says that it is finite."""
    size = side * float(FINITE_TO.get(name, 1e4))
    inputs = torch.tensor([size], requires_grad=True), torch.tensor([-size], requires_grad=True)
    loss = WITH_REFERENCE[name](*inputs, beta=1.0)
    gradients = grad(loss.sum(), inputs)
    assert all(value.isfinite().all() for value in (loss, *gradients)), (
        f"{name} at log-ratios {size:g} and {-size:g}, beta 1, in float32: loss {loss.item()}, gradients "
        f"{[gradient.item() for gradient in gradients]}. Rewrite it so that they are finite (logsigmoid for log of sigmoid). "
        f"If it cannot be, say in its docstring from where on, and give it a line in FINITE_TO"
    )


@pytest.mark.parametrize("name", ["ipo", "hinge", "robust", "nca", "bco", "sppo", "apo_zero", "dpop", "aot"])
def test_at_the_reference_the_chosen_response_is_pushed_up_and_the_rejected_down(name):
    assert sign_of_gradient(WITH_REFERENCE[name], doubles(0.0), doubles(0.0)) == [[-1.0], [1.0]]


def test_apo_down_pushes_a_probable_chosen_response_down():
    """At the reference the pulls on the chosen response, sigma' - sigma', cancel; above it the first one wins."""
    assert sign_of_gradient(apo_down_loss, doubles(0.0), doubles(0.0)) == [[0.0], [1.0]]
    assert sign_of_gradient(apo_down_loss, doubles(2.0), doubles(-4.0)) == [[1.0], [1.0]]


def test_ipo_is_satisfied_at_its_target_and_pulls_back_beyond_it():
    """beta 0.5: the target of the difference is 1."""
    assert ipo_loss(doubles(0.25), doubles(-0.75), beta=0.5).item() == 0
    assert sign_of_gradient(ipo_loss, doubles(3.0), doubles(0.0)) == [[1.0], [-1.0]]


def test_ipo_follows_its_inputs_sums_or_means():
    """Responses of 4 and 2 tokens, sums 2 and -1: means 1/2 and -1/2, difference 1, not 3; beta 0.5."""
    assert ipo_loss(doubles(2.0), doubles(-1.0), beta=0.5).item() == 4.0
    assert ipo_loss(doubles(2.0) / 4, doubles(-1.0) / 2, beta=0.5).item() == 0.0


def test_hinge_is_silent_beyond_a_margin_of_one():
    assert hinge_loss(doubles(1.5), doubles(-1.0), beta=0.5).item() == 0
    assert hinge_loss(doubles(0.5), doubles(-1.0), beta=0.5).item() == pytest.approx(0.25)


@pytest.mark.parametrize("flip_probability", [0.0, 0.2, 0.45])
def test_the_mean_of_robust_dpo_over_noisy_labels_is_dpo_on_clean_ones(flip_probability):
    loss_fn = partial(robust_loss, beta=0.3, label_smoothing=flip_probability)
    mean = (1 - flip_probability) * loss_fn(CHOSEN, REJECTED) + flip_probability * loss_fn(REJECTED, CHOSEN)
    torch.testing.assert_close(mean, dpo_loss(CHOSEN, REJECTED, beta=0.3))


@pytest.mark.parametrize("label_smoothing", [1e-3, 0.1, 0.4])
def test_exo_vanishes_where_the_policy_repeats_the_smoothed_label(label_smoothing):
    margin = doubles(math.log((1 - label_smoothing) / label_smoothing))
    loss = exo_loss(margin / 0.3, torch.zeros_like(margin), beta=0.3, label_smoothing=label_smoothing)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert (exo_loss(CHOSEN, REJECTED, beta=0.3, label_smoothing=label_smoothing) > 0).all()


def test_exo_is_a_kl_divergence_of_two_outcomes():
    q, label = torch.sigmoid(0.3 * (CHOSEN - REJECTED)), 0.9
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Bernoulli(q), torch.distributions.Bernoulli(torch.full_like(q, label))
    )
    torch.testing.assert_close(exo_loss(CHOSEN, REJECTED, beta=0.3, label_smoothing=0.1), oracle)


def test_sppo_vanishes_at_its_two_targets():
    assert sppo_loss(doubles(5.0), doubles(-5.0), beta=0.1).item() == 0


@pytest.mark.parametrize(("margin", "limit"), [(10.0, math.exp(-10)), (-10.0, softplus(10))])
def test_discopop_is_exponential_for_large_margins_and_logistic_for_small_ones(margin, limit):
    assert discopop_loss(doubles(margin), doubles(0.0), beta=1.0).item() == pytest.approx(limit, rel=1e-12)


def test_discopop_at_the_reference_pulls_margins_down():
    """Slope (1 - log 2) / (4 * 0.05) - 3/4 = 1.5342641 - 0.75 = 0.7842641 in the margin, half of it by beta 0.5."""
    zero = doubles(0.0).requires_grad_()
    (slope,) = grad(discopop_loss(zero, doubles(0.0), beta=0.5), zero)
    assert slope.item() == pytest.approx(0.5 * 0.7842640972, rel=1e-9)


def test_discopop_survives_where_the_naive_product_is_nan():
    """Margin -100 in float32: sigma(-2000) * exp(100) = 0 * inf; the loss is the logistic one, 100."""
    assert discopop_loss(torch.tensor([-100.0]), torch.zeros(1), beta=1.0).item() == pytest.approx(100)


def test_dpop_fines_a_chosen_response_that_lost_probability():
    """Log-ratios -1 and -3, beta 0.5, lambda 2: 0.5 * (-1 + 3 - 2 * 1) = 0, log 2; without the fine margin 1."""
    assert dpop_loss(doubles(-1.0), doubles(-3.0), beta=0.5, penalty=2.0).item() == pytest.approx(LOG_2)
    assert sign_of_gradient(partial(dpop_loss, penalty=2.0), doubles(-1.0), doubles(-3.0)) == [[-1.0], [1.0]]


@pytest.mark.parametrize("name", WITH_REFERENCE)
@pytest.mark.parametrize(
    ("chosen", "rejected", "beta", "message"),
    [
        (torch.zeros(3), torch.zeros(3), 0.0, "beta is 0.0"),
        (torch.zeros(3), torch.zeros(3), math.nan, "beta is nan"),
        (torch.zeros(3), torch.zeros(1), 0.1, "expected one shape"),
        (torch.zeros(3, 7), torch.zeros(3, 7), 0.1, "expected one value per pair"),
    ],
)
def test_what_would_fail_silently_is_refused(name, chosen, rejected, beta, message, types_unchecked):
    with pytest.raises(InputError, match=message):
        WITH_REFERENCE[name](chosen, rejected, beta=beta)


@pytest.mark.parametrize(
    ("loss_fn", "message"),
    [
        (partial(robust_loss, label_smoothing=0.5), "label_smoothing is 0.5"),
        (partial(exo_loss, label_smoothing=0.0), "label_smoothing is 0.0"),
        (partial(exo_loss, label_smoothing=0.5), "label_smoothing is 0.5"),
        (partial(discopop_loss, tau=0.0), "tau is 0.0"),
        (partial(dpop_loss, penalty=-1.0), "penalty is -1.0"),
    ],
)
def test_settings_outside_their_range_are_refused(loss_fn, message):
    with pytest.raises(InputError, match=message):
        loss_fn(CHOSEN, REJECTED, beta=0.3)
