"""The expected answers of notebook 10 computed in a second way; test_exercises.py tests their mistakes."""

import copy
import math

import pytest
import torch

from dpo_notes.lessons.training_gpt2_with_dpo.exercises import GRADIENTS, MICROBATCHES, PEAK_AT, STEP_CASES, STEPS
from dpo_notes.maths.bradley_terry import preference_nll
from dpo_notes.maths.losses import dpo_gradient_weight
from dpo_notes.teaching.checking import exercise
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.epochs import EpochSteps
from dpo_notes.training.step import OptimizerStep

pytestmark = pytest.mark.notebooks


def test_the_number_of_steps_is_the_loops():
    config = DPOConfig(batch_size=8, accumulation_steps=2, epochs=3)
    assert exercise("10.1").expected == EpochSteps([10] * 3000, config, processes=2).total


def test_the_shares_of_the_peak_are_the_loops():
    rates = {"learning_rate": 1.0, "total_steps": STEPS, "warmup_steps": PEAK_AT}
    step = OptimizerStep(torch.nn.Linear(1, 1), new_accelerator(), **rates, weight_decay=0.0, max_grad_norm=1.0)
    assert exercise("10.2").expected() == [step.learning_rate_at(10), step.learning_rate_at(100)]
    assert round(DPOConfig().warmup_fraction * STEPS) == PEAK_AT


def test_the_mean_of_a_step_does_not_depend_on_how_it_is_split():
    for microbatches in MICROBATCHES:
        assert torch.isclose(exercise("10.3").expected(microbatches), torch.cat(microbatches).mean())


def test_clipping_is_pytorchs():
    for gradients, limit in GRADIENTS:
        parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(parameters, limit)
        ours = exercise("10.4").expected(copy.deepcopy(gradients), limit)
        for one, parameter in zip(ours, parameters, strict=True):
            torch.testing.assert_close(one, parameter.grad, rtol=1e-5, atol=0)


def test_the_least_loss_is_that_of_equal_margins_and_a_spread_costs():
    least, spread = torch.full((2,), 0.5, dtype=torch.float64), torch.tensor([-1.0, 2.0], dtype=torch.float64)
    assert math.isclose(exercise("10.5").expected, preference_nll(least, torch.zeros_like(least)).mean().item())
    assert preference_nll(spread, torch.zeros_like(spread)).mean() > exercise("10.5").expected


def test_the_training_step_is_the_derived_gradient():
    """d loss / d theta = -beta * weight * (e_w - e_l): the softmax's normalisation cancels in the difference."""
    for theta, ref, chosen, rejected, beta, rate in STEP_CASES:
        ratios = theta.log_softmax(0) - ref
        weight = dpo_gradient_weight(ratios[chosen], ratios[rejected], beta=beta)
        one_hot = torch.eye(len(theta), dtype=theta.dtype)
        gradient = -(beta * weight[:, None] * (one_hot[chosen] - one_hot[rejected])).mean(dim=0)
        ours = exercise("10.7").expected(theta, ref, chosen, rejected, beta, rate)
        torch.testing.assert_close(ours, theta - rate * gradient)
