"""One optimizer step: schedule, weight decay, clipping, accumulation, and no update where something is not finite."""

import copy
import math

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from dpo_notes.training import step as step_file
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.step import OptimizerStep, TrainingDiverged

SETTINGS = {"learning_rate": 0.1, "total_steps": 10, "warmup_steps": 0, "weight_decay": 0.0, "max_grad_norm": 1e9}


def linear(*weights: float, bias: float = 0.0) -> nn.Linear:
    model = nn.Linear(len(weights), 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights]))
        model.bias.fill_(bias)
    return model


def step_on(model: nn.Module, **settings) -> OptimizerStep:
    return OptimizerStep(model, new_accelerator(), **SETTINGS | settings)


def along(model: nn.Linear):
    """A share whose gradient is the microbatch itself: the loss is the product of weights and microbatch."""
    return lambda direction: {"loss": (model.weight * torch.tensor(direction)).sum() + 0 * model.bias.sum()}


def state_of(take_step: OptimizerStep) -> dict[str, torch.Tensor]:
    """Copies of weights, moments and step counts."""
    state = {}
    for name, parameter in take_step.model.named_parameters():
        state[name] = parameter.detach().clone()
        moments = take_step.optimizer.optimizer.state.get(parameter, {})
        state |= {f"{name}/{key}": value.clone() for key, value in moments.items()}
    return state


@pytest.mark.parametrize(
    ("warmup_steps", "total_steps", "by_hand"),
    [(0, 4, [1.0, 0.75, 0.5, 0.25]), (2, 6, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]), (1, 1, [1.0]), (4, 2, [0.25, 0.5])],
)
def test_learning_rate_rises_over_the_warm_up_and_falls_in_a_line(warmup_steps, total_steps, by_hand):
    """With warm-up 2 of 6 steps: 1/2, 2/2, then 4/4, 3/4, 2/4, 1/4 of the peak; a seventh step would have 0."""
    model = linear(1.0)
    take_step = step_on(model, learning_rate=0.5, warmup_steps=warmup_steps, total_steps=total_steps)
    rows = [take_step(step, [[1.0]], along(model)) for step in range(1, total_steps + 1)]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.5 * share for share in by_hand])
    assert [group["lr"] for group in take_step.optimizer.param_groups] == [rows[-1]["learning_rate"]] * 2


def test_the_first_update_is_the_learning_rate_against_the_sign_of_each_gradient():
    """Adam's first step: m / sqrt(v) = g / |g|, so 2 - 0.1 = 1.9 and -1 + 0.1 = -0.9 for gradients 3 and -4."""
    model = linear(2.0, -1.0)
    step_on(model)(1, [[3.0, -4.0]], along(model))
    assert model.weight.flatten().tolist() == pytest.approx([1.9, -0.9])


def test_weight_decay_shrinks_matrices_and_leaves_biases_alone():
    """Without a gradient the weight becomes (1 - learning rate * decay) * 2 = (1 - 0.1 * 0.5) * 2 = 1.9."""
    model = linear(2.0, bias=3.0)
    step_on(model, weight_decay=0.5)(1, [[0.0]], along(model))
    assert model.weight.item() == pytest.approx(1.9)
    assert model.bias.item() == 3.0


def test_the_gradient_is_clipped_to_its_norm_and_the_norm_before_that_is_returned():
    """(3, -4) has norm 5; clipped to 1 it is (0.6, -0.8), and Adam's first moment is 0.1 of it."""
    model = linear(0.0, 0.0)
    take_step = step_on(model, max_grad_norm=1.0)
    row = take_step(1, [[3.0, -4.0]], along(model))
    assert row["grad_norm"] == pytest.approx(5.0)
    assert state_of(take_step)["weight/exp_avg"].flatten().tolist() == pytest.approx([0.06, -0.08], rel=1e-5)


def test_five_steps_equal_plain_adamw_with_clipping_and_a_linear_schedule():
    """An oracle: torch's unfused AdamW, clip_grad_norm_ and LambdaLR, on gradients of very unlike sizes."""
    ours, theirs = linear(1.0, -2.0, 3.0), linear(1.0, -2.0, 3.0)
    take_step = step_on(ours, total_steps=5, weight_decay=0.1, max_grad_norm=2.0, adam_betas=(0.8, 0.95))
    groups = [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.95), foreach=False)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda index: 1 - index / 5)
    for step, scale in enumerate((1.0, 100.0, 1e-3, 1.0, 10.0), start=1):
        direction = [scale, -scale / 2, scale / 3]
        row = take_step(step, [direction], along(ours))
        along(theirs)(direction)["loss"].backward()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        assert row["grad_norm"] == pytest.approx(norm.item())
        torch.testing.assert_close(ours.weight, theirs.weight)


def test_shares_of_microbatches_add_up_in_loss_metrics_and_gradient():
    """Three microbatches: the gradients 1, 2, 3 make 6; so do the metrics."""
    model = linear(1.0)
    take_step = step_on(model)

    def share(direction):
        return {"size": torch.tensor(direction).sum(), **along(model)(direction)}

    row = take_step(1, [[1.0], [2.0], [3.0]], share)
    assert (row["size"], row["loss"], row["grad_norm"]) == pytest.approx((6.0, 6.0, 6.0))
    assert state_of(take_step)["weight/exp_avg"].item() == pytest.approx(0.6)


def test_a_gradient_that_the_model_brought_along_is_dropped():
    model = linear(1.0)
    model.weight.grad = torch.full_like(model.weight, 100.0)
    assert step_on(model)(1, [[2.0]], along(model))["grad_norm"] == pytest.approx(2.0)


def broken_losses(model: nn.Linear) -> dict:
    """Name: a loss that is not finite in itself, in its gradient, or in both."""
    zero = 0 * model.weight.sum()
    return {
        "loss and gradient NaN": zero / 0,
        "loss infinite, gradient NaN": (zero + 1e30).square() * 1e30,
        "loss infinite, gradient finite": model.weight.sum() + math.inf,
        "loss NaN, gradient finite": model.weight.sum() + math.nan,
        "loss finite, gradient infinite": model.bias.sum().sqrt(),
        "loss finite, gradient NaN": zero.sqrt(),
    }


@pytest.mark.parametrize("name", broken_losses(linear(1.0)))
@pytest.mark.parametrize("steps_before", [0, 2])
def test_where_loss_or_gradient_is_not_finite_nothing_changes_and_training_stops(name, steps_before):
    """Weights, moments and step counts stay as they were, bit by bit; the message names step, loss and gradient."""
    model = linear(1.0)
    take_step = step_on(model, weight_decay=0.1)
    for step in range(1, steps_before + 1):
        take_step(step, [[0.5]], along(model))
    with torch.no_grad():
        model.bias.zero_()
    before = state_of(take_step)
    with pytest.raises(TrainingDiverged, match=rf"^step {steps_before + 1}: loss .*, gradient norm .*not made$"):
        take_step(steps_before + 1, [[0.0]], lambda _: {"loss": broken_losses(model)[name]})
    after = state_of(take_step)
    for key, value in before.items():
        assert torch.equal(value, after[key]), key
    if not steps_before:  # the optimizer has made its moments by now: all of them still 0
        assert all(value.count_nonzero() == 0 for key, value in after.items() if "/" in key)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_after_a_refused_update_the_next_one_is_made_as_if_nothing_had_been():
    model = linear(1.0)
    untouched = copy.deepcopy(model)
    take_step, other = step_on(model), step_on(untouched)
    with pytest.raises(TrainingDiverged):
        take_step(1, [[math.nan]], along(model))
    take_step(1, [[2.0]], along(model))
    other(1, [[2.0]], along(untouched))
    first, second = state_of(take_step), state_of(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_one_broken_microbatch_among_good_ones_is_enough():
    model = linear(1.0)
    with pytest.raises(TrainingDiverged):
        step_on(model)(1, [[1.0], [math.inf], [1.0]], along(model))
    assert model.weight.item() == 1.0


def test_an_accelerate_configuration_in_the_environment_changes_nothing(monkeypatch):
    """`accelerate config` may ask for accumulation and mixed precision of its own; the run's settings say both."""
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})  # as in a new process
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    model = linear(2.0)
    take_step = step_on(model)
    assert take_step(1, [[3.0]], along(model))["grad_norm"] == pytest.approx(3.0)
    assert model.weight.item() == pytest.approx(1.9)
    assert take_step.accelerator.mixed_precision == "no"


def test_a_gradient_that_overflows_float16_is_computed_again_with_half_the_scale():
    """The largest number of float16 is 65,504: with scales from 65,536 down, a gradient of 3 first fits at 16,384."""
    plain, scaled = linear(1.0), linear(1.0)
    asked = []

    def share(direction):
        asked.append(direction)
        return {"loss": _InHalf.apply(scaled.weight.sum(), direction)}

    take_step = step_on(scaled, scaled=True)
    row = take_step(1, [3.0], share)
    assert asked == [3.0] * 3 and take_step.scale == 16384
    expected = step_on(plain)(1, [[3.0]], along(plain))
    assert row["grad_norm"] == pytest.approx(expected["grad_norm"]) == 3.0
    torch.testing.assert_close(scaled.weight, plain.weight)


def test_what_float16_would_round_to_0_counts_when_it_is_scaled():
    """Its smallest number is 6e-8."""
    plain, scaled = linear(1.0), linear(1.0)
    assert step_on(plain)(1, [1e-8], lambda d: {"loss": _InHalf.apply(plain.weight.sum(), d)})["grad_norm"] == 0
    row = step_on(scaled, scaled=True)(1, [1e-8], lambda d: {"loss": _InHalf.apply(scaled.weight.sum(), d)})
    assert row["grad_norm"] == pytest.approx(1e-8, rel=0.01)


def test_a_loss_that_is_not_finite_is_no_matter_of_scale():
    model = linear(1.0)
    take_step = step_on(model, scaled=True)
    with pytest.raises(TrainingDiverged, match="^step 1: loss nan"):
        take_step(1, [[0.0]], lambda _: {"loss": model.weight.sum() * math.nan})
    with pytest.raises(TrainingDiverged, match="^step 2: loss .*, gradient norm inf"):
        take_step(2, [[0.0]], lambda _: {"loss": broken_losses(model)["loss finite, gradient infinite"]})
    assert take_step.scale == 1


def test_the_scale_is_doubled_after_many_steps(monkeypatch):
    monkeypatch.setattr(step_file, "STEPS_TO_DOUBLE", 2)
    model = linear(1.0)
    take_step = step_on(model, scaled=True)
    scales = [take_step(step, [[0.5]], along(model)) and take_step.scale for step in (1, 2, 3, 4)]
    assert scales == [2.0**16, 2.0**17, 2.0**17, 2.0**18]
    unscaled = step_on(linear(1.0))
    unscaled(2, [[0.5]], along(unscaled.model))
    assert unscaled.scale == 1


class _InHalf(torch.autograd.Function):
    """The product of a number and a factor whose gradient passes through float16, as in a model of that precision."""

    @staticmethod
    def forward(ctx, number, factor):
        ctx.factor = factor
        return number * factor

    @staticmethod
    def backward(ctx, grad):
        return (grad * ctx.factor).half().float(), None
