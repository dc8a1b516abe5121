"""What must not change the numbers of a DPO run: dropout, padding, how a batch is split, or running it again."""

import copy
import math

import numpy
import pytest
import torch
from runs import without_speed
from safetensors.torch import load_file
from torch.nn.functional import logsigmoid
from transformers import GPT2Config, GPT2LMHeadModel

from dpo_notes.language.load import frozen_copy
from dpo_notes.maths.losses import dpo_gradient_weight, dpo_loss
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.preference_loss import PreferenceLoss

pytest_plugins = ["run_fixtures"]

REWARDS = ("rewards/chosen", "rewards/rejected", "rewards/margins")


def with_dropout(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """The same weights, with dropout of 0.1 everywhere, in training mode."""
    rates = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.1)
    noisy = GPT2LMHeadModel(GPT2Config(**model.config.to_dict() | rates))
    noisy.load_state_dict(model.state_dict())
    return noisy.train()


@pytest.mark.parametrize(
    "settings",
    [{}, {"cache_reference": False}, {"loss": PreferenceLoss(dpo_loss, reduction="mean")}, {"precision": "bf16"}]
    + [{"batch_size": 2, "accumulation_steps": 4}],
    ids=lambda settings: ", ".join(map(str, settings)) or "default",
)
@pytest.mark.parametrize("dropout", [False, True])
def test_before_any_update_loss_is_log_2_margins_are_0_and_kl_is_0(train, tiny_model, tiny_pairs, settings, dropout):
    policy = with_dropout(tiny_model) if dropout else tiny_model
    start, first, *_ = train(policy, eval_pairs=tiny_pairs[16:], eval_samples=4, **settings)
    assert (start["step"], first["step"]) == (0, 1)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert start["eval/loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert all(abs(first[name]) <= 1e-6 and abs(start[f"eval/{name}"]) <= 1e-6 for name in REWARDS)
    assert first["rewards/accuracies"] == start["eval/rewards/accuracies"] == 0
    assert start["eval/kl"] == start["eval/kl_error"] == 0


def test_dropout_of_a_model_changes_nothing_at_any_step(train, tiny_model):
    plain, noisy = train(copy.deepcopy(tiny_model)), train(with_dropout(tiny_model))
    assert without_speed(plain) == without_speed(noisy)


def test_which_token_pads_changes_nothing(train, tiny_tokenizer):
    """Padding is known by length: end of text pads by default, and another token does as well."""
    assert tiny_tokenizer.pad_token_id == tiny_tokenizer.eos_token_id
    other = copy.deepcopy(tiny_tokenizer)
    other.pad_token = other.convert_ids_to_tokens(40)
    assert without_speed(train()) == without_speed(train(tokenizer=other))


@pytest.mark.parametrize("split", [(1, 8), (2, 4), (4, 2)], ids=lambda split: f"{split[1]} of {split[0]}")
def test_a_batch_of_8_is_8_accumulated_batches_of_1_at_every_step(train, tiny_pairs, split):
    """22 pairs: two steps of 8 and one of 6 in each of two epochs. A batch of 1 has no other pair to be padded for."""
    batch_size, accumulation_steps = split
    pairs = tiny_pairs[:22]
    whole = without_speed(train(pairs=pairs, epochs=2, batch_size=8))
    parts = train(pairs=pairs, epochs=2, batch_size=batch_size, accumulation_steps=accumulation_steps)
    assert len(whole) == len(parts) == 6
    for one, other in zip(whole, parts, strict=True):
        for name in one:
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-5), (one["step"], name)


def plain_logps(model: GPT2LMHeadModel, prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    """log pi(response | prompt), one sequence at a time and without padding, from all logits."""
    ids = torch.tensor([[*prompt, *response]])
    log_probs = model(input_ids=ids).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
    return log_probs.gather(1, ids[0, len(prompt) :, None]).sum()


def test_the_gradient_of_a_step_is_autograds_and_the_one_of_the_weighted_formula(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs, tmp_path
):
    """Adam's first moment after one unclipped step is a tenth of the gradient, and the checkpoint holds it.

    Two other routes to it: autograd through the DPO formula on plain log-probabilities, sequence by sequence; and
    -beta * weight * (grad log pi(y_w) - grad log pi(y_l)), averaged over pairs, with weight = sigma(r_l - r_w).
    """
    policy, reference, beta = new_tiny_model(0), new_tiny_model(1).requires_grad_(False), 0.3
    start = copy.deepcopy(policy)
    (row,) = train(
        policy, reference=reference, pairs=tiny_pairs[:8], beta=beta, max_grad_norm=1e9, output_dir=tmp_path / "run"
    )
    state = load_file(tmp_path / "run/checkpoint/step-00000001/state.safetensors")

    encoded = encode_pairs(tiny_tokenizer, tiny_pairs[:8], max_length=96)
    (chosen, rejected), before = (
        [
            torch.stack([plain_logps(model, p.prompt, getattr(p, side)) for p in encoded])
            for side in ("chosen", "rejected")
        ]
        for model in (start, reference)
    )
    logratios = chosen - before[0], rejected - before[1]
    loss = -logsigmoid(beta * (logratios[0] - logratios[1])).mean()
    weight = dpo_gradient_weight(*(side.detach() for side in logratios), beta=beta)
    weighted = (-beta * weight * (chosen - rejected)).mean()
    names, parameters = zip(*start.named_parameters(), strict=True)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for route in (loss, weighted):
        gradient = torch.autograd.grad(route, parameters, retain_graph=True)
        norm = torch.stack([g.norm() for g in gradient]).norm().item()
        assert row["grad_norm"] == pytest.approx(norm, rel=1e-4)
        for name, expected in zip(names, gradient, strict=True):
            assert (state[f"{name}/exp_avg"] * 10 - expected).norm() <= 1e-4 * norm, name


def test_the_same_seed_twice_is_equal_bit_by_bit_and_another_seed_is_not(train, new_tiny_model, tiny_pairs):
    policies = [new_tiny_model() for _ in range(3)]
    settings = {"epochs": 2, "eval_pairs": tiny_pairs[16:], "eval_samples": 4}
    first, second, other = (train(p, seed=seed, **settings) for p, seed in zip(policies, (0, 0, 1), strict=True))
    assert without_speed(first) == without_speed(second)
    assert without_speed(first) != without_speed(other)
    weights = [policy.state_dict() for policy in policies]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["lm_head.weight"], weights[2]["lm_head.weight"])


def test_the_random_numbers_of_everybody_else_are_left_alone(train, tiny_pairs):
    torch.manual_seed(1)
    numpy.random.seed(1)
    before = torch.get_rng_state(), numpy.random.get_state()[1].tolist()
    train(eval_pairs=tiny_pairs[16:], eval_samples=4)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == numpy.random.get_state()[1].tolist()


def test_precision_may_differ_from_run_to_run_and_leaves_no_trace_on_the_model(train, new_tiny_model, tiny_pairs):
    """A wrapped forward would stay tied to the original weights in every later copy."""
    policy = new_tiny_model()
    half = train(policy, precision="bf16")
    copied = frozen_copy(policy)
    ids = torch.arange(5)[None]
    with torch.no_grad():
        logits = copied(input_ids=ids).logits
        policy.lm_head.weight.mul_(3)
        assert torch.equal(copied(input_ids=ids).logits, logits)
    assert logits.dtype == torch.float32
    full = train(precision="fp32")
    assert half[-1]["loss"] != full[-1]["loss"]
    assert half[-1]["loss"] == pytest.approx(full[-1]["loss"], abs=0.05)
