"""Packed pairs: every token once, and the same log-probabilities and gradients as two padded rows a pair."""

import pytest
import torch
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from dpo_notes.language.packed import attention_named, can_pack, pack_pairs, packed_token_logps
from dpo_notes.language.score import batch_logps_readable, pair_logps
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import EncodedPair

SMALL = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 2, "max_position_embeddings": 96, "initializer_range": 0.2}
PAIRS = [
    EncodedPair((5, 6, 7), (8, 9, 10, 0), (11, 0)),
    EncodedPair((12,), (0,), tuple(range(20, 50))),
    EncodedPair(tuple(range(60, 100)), (3, 4, 5), (3, 4, 0)),
]


def scaled_by_layer(tiny: GPT2LMHeadModel) -> PreTrainedModel:
    """A GPT-2 whose attention divides by the number of its layer, as some of its relatives do."""
    tiny.config.scale_attn_by_inverse_layer_idx = True
    return GPT2LMHeadModel(tiny.config)


def llama(tiny: GPT2LMHeadModel) -> PreTrainedModel:
    """Rotary positions, and one key and value for two queries."""
    return LlamaForCausalLM(LlamaConfig(**SMALL, num_key_value_heads=1, head_dim=16))


def neox(tiny: GPT2LMHeadModel) -> PreTrainedModel:
    """Rotary positions on a quarter of the channels; attention and feed-forward layer side by side."""
    return GPTNeoXForCausalLM(GPTNeoXConfig(**SMALL))


@pytest.fixture(params=[lambda tiny: tiny, scaled_by_layer, llama, neox], ids=["gpt2", "scaled gpt2", "llama", "neox"])
def model(request, tiny_model) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param(tiny_model).eval().double()


def value_and_gradient(model: PreTrainedModel, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Both log-probabilities, and the gradient of -log sigma(chosen - rejected), in which the two weigh differently."""
    model.zero_grad()
    (-nn.functional.logsigmoid(chosen - rejected)).sum().backward()
    return torch.cat([chosen, rejected, *(parameter.grad.flatten() for parameter in model.parameters())])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[1:2], PAIRS[::-1]], ids=["three", "one", "reversed"])
def test_values_and_gradients_are_those_of_the_readable_way(model, pairs, reduction):
    assert can_pack(model)
    packed = value_and_gradient(model, *pair_logps(model, pairs, reduction=reduction))
    readable = value_and_gradient(model, *batch_logps_readable(model, collate_pairs(pairs), reduction=reduction))
    assert (packed - readable).norm() < 1e-6 * readable.norm()  # some models compute norms in float32 whatever you ask


def test_every_token_passes_once_and_only_the_predicting_ones_pass_the_head(model):
    """3 + 1 + 40 tokens of prompts, 4 + 1 + 3 of chosen and 2 + 30 + 3 of rejected responses."""
    seen = []
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:2]))
    model.get_output_embeddings().register_forward_hook(lambda module, inputs, output: seen.append(output.shape[:1]))
    pair_logps(model, PAIRS)
    assert seen == [(1, 44 + 8 + 35), (8 + 35,)]


def test_a_row_of_two_pairs_by_hand():
    """Prompts of 2 and 1 tokens, chosen responses of 1 and 2, rejected ones of 2 and 1: columns 0 to 8."""
    packed = pack_pairs([EncodedPair((1, 2), (3,), (4, 5)), EncodedPair((6,), (7, 8), (9,))])
    assert packed.input_ids.tolist() == [[1, 2, 6, 3, 7, 8, 4, 5, 9]]
    assert packed.position_ids.tolist() == [[0, 1, 0, 2, 1, 2, 2, 3, 1]]
    assert packed.response_index.tolist() == [3, 4, 5, 6, 7, 8]
    assert packed.predicting_index.tolist() == [1, 2, 4, 1, 6, 2]
    assert packed.prompts.real.tolist() == [0, 1, 2]  # of [1 2] [6 .]
    assert packed.responses.real.tolist() == [0, 2, 3, 4, 5, 6]  # of [3 .] [7 8] [4 5] [9 .]
    second_of_7_8 = packed.visible[1, 0, 1].tolist()  # prompt [6 .], then [7 8]
    assert second_of_7_8 == [True, False, True, True]


def test_token_logps_stand_behind_an_empty_column_in_the_order_of_the_responses(tiny_model):
    logps, real = packed_token_logps(tiny_model, pack_pairs(PAIRS))
    assert real.sum(1).tolist() == [4, 1, 3, 2, 30, 3]
    assert not real[:, 0].any() and (logps[~real] == 0).all() and (logps[real] < 0).all()


def test_company_changes_nothing(model):
    alone = torch.cat([torch.stack(pair_logps(model, [pair])) for pair in PAIRS], dim=1)
    torch.testing.assert_close(torch.stack(pair_logps(model, PAIRS)), alone, rtol=1e-6, atol=0)


def test_a_model_that_attends_in_another_way_is_not_packed_and_scored_all_the_same():
    """Gemma 2 has sliding windows, here of 8 tokens."""
    config = Gemma2Config(**SMALL, num_key_value_heads=1, head_dim=16, sliding_window=8)
    model = Gemma2ForCausalLM(config).eval().double()
    assert not can_pack(model)
    expected = batch_logps_readable(model, collate_pairs(PAIRS))
    torch.testing.assert_close(pair_logps(model, PAIRS), expected, rtol=1e-9, atol=0)


def test_the_models_own_attention_is_back_afterwards_also_after_an_error(tiny_model):
    own = tiny_model.config._attn_implementation
    pair_logps(tiny_model, PAIRS)
    with pytest.raises(ZeroDivisionError), attention_named(tiny_model, "packed_pairs"):
        _ = 1 / 0
    assert tiny_model.config._attn_implementation == own != "packed_pairs"


def test_a_wrapper_that_keeps_the_model_in_module_scores_the_same(tiny_model, in_module):
    torch.testing.assert_close(pair_logps(in_module(tiny_model), PAIRS), pair_logps(tiny_model, PAIRS), rtol=0, atol=0)
