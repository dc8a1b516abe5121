"""GPT-2 by hand: the values and gradients of the general path, and only where nothing is attached to the model."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tensors import seeded
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize
from transformers import GPT2LMHeadModel

from dpo_notes.language import gpt2_by_hand
from dpo_notes.language.gpt2_by_hand import can_do_by_hand, token_logps_by_hand
from dpo_notes.language.load import fuse_gelu
from dpo_notes.language.packed import pack_pairs
from dpo_notes.language.packed_forward import packed_token_logps
from dpo_notes.language.score import batch_logps_readable, pair_logps
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import EncodedPair

PAIRS = [
    EncodedPair((5, 6, 7), (8, 9, 10, 0), (11, 0)),
    EncodedPair((12,), (0,), tuple(range(20, 50))),
    EncodedPair(tuple(range(60, 100)), (3, 4, 5), (3, 4, 0)),
]
PACKED = pack_pairs(PAIRS)


@pytest.fixture
def model(tiny_model) -> GPT2LMHeadModel:
    """As loading leaves it: with the activation as one operation."""
    fuse_gelu(tiny_model)
    return tiny_model


def values_and_gradients(way, model: GPT2LMHeadModel) -> list[torch.Tensor]:
    """Of a sum in which every token weighs differently."""
    logps = way(model, PACKED)
    weights = torch.randn(len(logps), generator=seeded(), dtype=torch.float64).to(logps)
    return [logps, *torch.autograd.grad((logps * weights).sum(), list(model.parameters()))]


@pytest.mark.parametrize(("dtype", "relative"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_values_and_each_gradient_are_those_of_the_general_path(model, dtype, relative):
    model = model.to(dtype)
    assert can_do_by_hand(model, PACKED)
    by_hand, general = (values_and_gradients(way, model) for way in (token_logps_by_hand, packed_token_logps))
    for ours, theirs in zip(by_hand, general, strict=True):
        assert (ours - theirs).norm() <= relative * theirs.norm()
        assert theirs.norm() > 0


def test_it_is_what_scores_pairs_and_equals_the_readable_way(model, monkeypatch):
    monkeypatch.setattr("dpo_notes.language.score.packed_token_logps", None)
    readable = batch_logps_readable(model.double(), collate_pairs(PAIRS))
    torch.testing.assert_close(pair_logps(model, PAIRS), readable, rtol=1e-12, atol=0)


def test_a_second_backward_through_the_same_graph_gives_the_same_gradient(model):
    logps = token_logps_by_hand(model, PACKED).sum()
    first, again = (torch.autograd.grad(logps, list(model.parameters()), retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_a_change_of_the_weights_between_the_passes_is_noticed(model):
    logps = token_logps_by_hand(model, PACKED).sum()
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        logps.backward()


def test_frozen_weights_get_no_gradient_and_the_others_theirs(model):
    full = dict(zip(dict(model.named_parameters()), values_and_gradients(token_logps_by_hand, model)[1:], strict=True))
    for name, weight in model.named_parameters():
        weight.requires_grad_(".mlp." in name)
    logps = token_logps_by_hand(model, PACKED)
    (logps * torch.randn(len(logps), generator=seeded(), dtype=torch.float64).to(logps)).sum().backward()
    for name, weight in model.named_parameters():
        assert (weight.grad is None) == (".mlp." not in name)
        if weight.grad is not None:
            torch.testing.assert_close(weight.grad, full[name])


def test_without_a_gradient_nothing_is_kept(model):
    with torch.no_grad():
        assert not token_logps_by_hand(model, PACKED).requires_grad


# Everything that would change what the model computes, each with its own undoing where it is not the model's.


def wrapped_layer(model):
    class Doubled(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return 2 * self.inner(x)

    model.transformer.h[1].mlp.c_fc = Doubled(model.transformer.h[1].mlp.c_fc)


def subclass_of_a_layer(model):
    class Louder(nn.LayerNorm):
        def forward(self, x):
            return 2 * super().forward(x)

    model.transformer.ln_f.__class__ = Louder


def forward_hook(model):
    model.transformer.h[0].attn.register_forward_hook(lambda module, inputs, output: (2 * output[0], output[1]))


def forward_pre_hook(model):
    model.transformer.h[0].ln_2.register_forward_pre_hook(lambda module, inputs: (inputs[0].cumsum(-1),))


def backward_hook(model):
    model.transformer.ln_f.register_full_backward_hook(lambda module, d_inputs, d_outputs: (2 * d_inputs[0],))


def forward_of_its_own(model):
    own = model.transformer.h[0].mlp.forward
    model.transformer.h[0].mlp.forward = lambda x: 2 * own(x)


def dropout(model):
    model.transformer.h[0].attn.resid_dropout.p = 0.1
    model.train()


def checkpointing(model):
    model.gradient_checkpointing_enable()
    model.train()


def parametrisation(model):
    class Twice(nn.Module):
        def forward(self, weight):
            return 2 * weight

    parametrize.register_parametrization(model.transformer.ln_f, "weight", Twice())


def untied_head(model):
    model.lm_head.weight = nn.Parameter(2 * model.lm_head.weight.detach())


def bias_in_the_head(model):
    model.lm_head.bias = nn.Parameter(torch.arange(400.0, dtype=torch.float64))


def another_activation(model):
    model.transformer.h[0].mlp.act = nn.GELU()


def scale_by_layer(model):
    model.config.scale_attn_by_inverse_layer_idx = True
    for number, block in enumerate(model.transformer.h, start=1):
        block.attn.scaling /= number


def other_scale(model):
    model.transformer.h[0].attn.scaling *= 2


def other_epsilon(model):
    model.transformer.ln_f.eps = 0.5


def adapters(model):
    """PEFT keeps the base weight as `c_attn.weight` of its own layer: reading that alone would lose the adapter."""
    get_peft_model(model, LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False))


CHANGES = [wrapped_layer, subclass_of_a_layer, forward_hook, forward_pre_hook, backward_hook, forward_of_its_own]
CHANGES += [dropout, checkpointing, parametrisation, untied_head, bias_in_the_head, another_activation, scale_by_layer]
CHANGES += [other_scale, other_epsilon, adapters]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_takes_the_general_path_and_the_change_counts(model, change):
    model = model.double()
    before = torch.stack(pair_logps(model, PAIRS)).detach()
    change(model)
    assert not can_do_by_hand(model, PACKED)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        after = torch.stack(pair_logps(model, PAIRS)).detach()
    changes_values = change not in (backward_hook, checkpointing)
    assert torch.allclose(before, after, rtol=1e-9) != changes_values
    if change is not dropout:
        readable = torch.stack(batch_logps_readable(model, collate_pairs(PAIRS))).detach()
        torch.testing.assert_close(after, readable, rtol=1e-9, atol=0)


def test_a_hook_on_all_modules_counts(model):
    handle = register_module_forward_hook(lambda module, inputs, output: None)
    try:
        assert not can_do_by_hand(model, PACKED)
    finally:
        handle.remove()
    assert can_do_by_hand(model, PACKED)


def test_long_rows_take_the_general_path(model, monkeypatch):
    """The longest of the three pairs has 43 tokens."""
    monkeypatch.setattr(gpt2_by_hand, "LONGEST", 42)
    assert not can_do_by_hand(model, PACKED)
    monkeypatch.setattr(gpt2_by_hand, "LONGEST", 43)
    assert can_do_by_hand(model, PACKED)


def test_a_wrapper_for_several_processes_is_called_and_changes_nothing(model, in_module, monkeypatch):
    wrapper, called = in_module(model), []
    wrapper.register_forward_hook(lambda module, inputs, output: called.append(output))
    monkeypatch.setattr("dpo_notes.language.score.packed_token_logps", None)
    torch.testing.assert_close(pair_logps(wrapper, PAIRS), pair_logps(model, PAIRS), rtol=0, atol=0)
    assert len(called) == 1 and "forward" not in vars(model)


def test_half_precision_takes_the_general_path(model):
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_do_by_hand(model, PACKED)
    assert not can_do_by_hand(model.bfloat16(), PACKED)
