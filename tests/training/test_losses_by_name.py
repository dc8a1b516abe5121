"""The losses that the command line knows by name."""

import math

import pytest
import torch
from torch.nn.functional import softplus

from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import response_logps
from dpo_notes.maths import loss_family
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.encode import encode_pairs
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


# For beta 0.5: sums and means of log pi(y) (w chosen, l rejected), then the means of log-ratios to the reference.
BY_PAPER = {
    "ipo": lambda sums, means, ratios: (ratios[0] - ratios[1] - 1) ** 2,
    "simpo": lambda sums, means, ratios: softplus(0.5 - 0.5 * (means[0] - means[1])),
    "orpo": lambda sums, means, ratios: -means[0] + 0.5 * softplus(log_odds(means[1]) - log_odds(means[0])),
    "cpo": lambda sums, means, ratios: softplus(-0.5 * (sums[0] - sums[1])) - sums[0],
}


def log_odds(logps: torch.Tensor) -> torch.Tensor:
    return torch.log(logps.exp() / (1 - logps.exp()))


@pytest.mark.parametrize("name", BY_PAPER)
def test_losses_on_means_or_without_reference_have_the_value_of_their_papers(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs, name
):
    """One step from a policy that is not the reference, against the formulas on the public scores."""
    loss, policy, reference = loss_named(name), new_tiny_model(0), new_tiny_model(1).requires_grad_(False)
    pairs = tiny_pairs[:8]
    encoded = encode_pairs(tiny_tokenizer, pairs, max_length=96)
    lengths = [torch.tensor([len(getattr(pair, side)) for pair in encoded]) for side in ("chosen", "rejected")]
    with torch.no_grad():
        sums, others = (response_logps(model, tiny_tokenizer, pairs) for model in (policy, reference))
    means, theirs = ([logps / n for logps, n in zip(side, lengths, strict=True)] for side in (sums, others))
    expected = BY_PAPER[name](sums, means, [a - b for a, b in zip(means, theirs, strict=True)]).mean().item()
    given = {"reference": reference if loss.needs_reference else None, "reduction": loss.reduction, "beta": 0.5}
    (row,) = train(policy, pairs=pairs, loss_fn=loss.function, **given)
    assert row["loss"] == pytest.approx(expected, rel=1e-4)


def test_cdpo_and_robust_expect_that_one_label_in_ten_is_wrong():
    """Margin 1: right, -log sigma(1) = log(1 + 1/e); wrong, log(1 + e), which is 1 more.

    cDPO is the mean over labels, 0.9 right and 0.1 wrong. Robust DPO undoes it: its mean over labels is the DPO loss.
    """
    right, wrong = math.log(1 + math.exp(-1)), math.log(1 + math.e)
    logratios = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])  # margins 1 and -1 at beta 0.5
    cdpo, robust = (loss_named(name).function(*logratios, beta=0.5) for name in ("cdpo", "robust"))
    assert cdpo.tolist() == pytest.approx([0.9 * right + 0.1 * wrong, 0.9 * wrong + 0.1 * right])
    assert 0.9 * robust[0].item() + 0.1 * robust[1].item() == pytest.approx(right)
    assert 0.9 * robust[1].item() + 0.1 * robust[0].item() == pytest.approx(wrong)


def test_every_paired_loss_of_the_family_has_a_name():
    """All but KTO, which takes single examples and a baseline."""
    family = {name.removesuffix("_loss").replace("_", "-") for name in loss_family.__all__ if name.endswith("_loss")}
    assert family - LOSSES.keys() == {"kto"}
    assert LOSSES.keys() - family == {"dpo", "cdpo"}


def test_cpo_adds_the_likelihood_of_the_chosen_response():
    """Both at -3 nats: log 2 + 3. With -1 and -3, beta 0.5: log(1 + e^-1) + 1."""
    loss = cpo_with_nll(torch.tensor([-3.0, -1.0]), torch.tensor([-3.0, -3.0]), beta=0.5)
    assert loss.tolist() == pytest.approx([math.log(2) + 3, math.log(1 + math.exp(-1)) + 1])


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError) as error:
        loss_named("DPO")
    assert str(error.value).startswith("loss is 'DPO'; expected one of dpo, cdpo, ")
    assert all(name in str(error.value) for name in LOSSES)
