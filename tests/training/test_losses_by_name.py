"""The losses that the command line knows by name."""

import inspect
import math

import pytest
import torch

from dpo_notes.language.load import frozen_copy
from dpo_notes.maths import loss_family
from dpo_notes.maths.errors import InputError
from dpo_notes.training.losses_by_name import LOSSES, cpo_with_nll, loss_named

pytest_plugins = ["run_fixtures"]

AT_THE_REFERENCE = {  # the loss where policy equals reference, for beta 0.5, as each docstring has it
    "dpo": math.log(2),
    "cdpo": math.log(2),
    "robust": math.log(2),
    "ipo": 1 / (4 * 0.5**2),
    "hinge": 1.0,
    "exo": -math.log(2) - math.log(0.001 * 0.999) / 2,
    "nca": 2 * math.log(2),
    "bco": 2 * math.log(2),
    "sppo": 1 / (2 * 0.5**2),
    "aot": math.log(2),
    "apo-zero": 1.0,
    "apo-down": 1.0,
    "discopop": (math.log(2) + 1) / 2,
    "dpop": math.log(2),
}
WITHOUT_REFERENCE = {"simpo", "orpo", "cpo"}


@pytest.mark.parametrize("name", LOSSES)
def test_two_steps_with_each_loss_are_finite_and_move_the_policy(train, tiny_model, name):
    loss = loss_named(name)
    reference = frozen_copy(tiny_model) if loss.needs_reference else None
    before = tiny_model.lm_head.weight.detach().clone()
    rows = train(tiny_model, reference=reference, loss_fn=loss.function, reduction=loss.reduction, beta=0.5)
    assert len(rows) == 2
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert rows[0]["grad_norm"] > 0
    assert not torch.equal(before, tiny_model.lm_head.weight)
    if loss.needs_reference:
        assert rows[0]["loss"] == pytest.approx(AT_THE_REFERENCE[name], rel=1e-5)


def test_which_losses_are_known_and_which_of_them_need_a_reference():
    assert {name for name, loss in LOSSES.items() if not loss.needs_reference} == WITHOUT_REFERENCE
    assert {name for name, loss in LOSSES.items() if loss.needs_reference} == AT_THE_REFERENCE.keys()
    assert {name for name, loss in LOSSES.items() if loss.reduction == "mean"} == {"ipo", "simpo", "orpo"}


def test_every_paired_loss_of_the_family_has_a_name():
    """All but KTO, which takes single examples and a baseline."""
    family = {name.removesuffix("_loss").replace("_", "-") for name in loss_family.__all__ if name.endswith("_loss")}
    assert family - LOSSES.keys() == {"kto"}
    assert LOSSES.keys() - family == {"dpo", "cdpo"}


@pytest.mark.parametrize("name", LOSSES)
def test_every_named_loss_takes_two_tensors_and_beta(name):
    chosen, rejected = torch.tensor([-0.2, -0.7, -1.1]), torch.tensor([-0.5, -0.3, -1.4])
    assert loss_named(name).function(chosen, rejected, beta=0.5).shape == (3,)
    assert "beta" in inspect.signature(loss_named(name).function).parameters


def test_cpo_adds_the_likelihood_of_the_chosen_response():
    """Both at -3 nats: log 2 + 3. With -1 and -3, beta 0.5: log(1 + e^-1) + 1."""
    loss = cpo_with_nll(torch.tensor([-3.0, -1.0]), torch.tensor([-3.0, -3.0]), beta=0.5)
    assert loss.tolist() == pytest.approx([math.log(2) + 3, math.log(1 + math.exp(-1)) + 1])


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError) as error:
        loss_named("DPO")
    assert str(error.value).startswith("loss is 'DPO'; expected one of dpo, cdpo, ")
    assert all(name in str(error.value) for name in LOSSES)
