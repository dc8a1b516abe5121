"""Packed pairs: every token once, and the same log-probabilities and gradients as two padded rows a pair."""

import pytest
import torch
from torch import nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from dpo_notes.language.packed import in_rows, pack_pairs
from dpo_notes.language.packed_forward import attention_named, can_pack, packed_token_logps
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


# Rotary positions, on a quarter of the channels in GPT-NeoX, whose attention and feed-forward layer stand side by side.
# The others have one key and value for two queries; Gemma scales its embeddings, Qwen 3 normalises queries and keys.
OTHERS = {
    "neox": (GPTNeoXForCausalLM, GPTNeoXConfig, {}),
    "llama": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 1, "head_dim": 16}),
    "mistral": (MistralForCausalLM, MistralConfig, {"num_key_value_heads": 1, "head_dim": 16, "sliding_window": None}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {"num_key_value_heads": 1}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {"num_key_value_heads": 1, "head_dim": 16}),
    "gemma": (GemmaForCausalLM, GemmaConfig, {"num_key_value_heads": 1, "head_dim": 16}),
}


@pytest.fixture(params=["gpt2", "scaled gpt2", *OTHERS])
def model(request, tiny_model) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if request.param in OTHERS:
            kind, config, more = OTHERS[request.param]
            return kind(config(**SMALL, **more)).eval().double()
        return (tiny_model if request.param == "gpt2" else scaled_by_layer(tiny_model)).eval().double()


def value_and_gradient(model: PreTrainedModel, chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """Both log-probabilities, and the gradient of -log sigma(chosen - rejected), in which the two weigh differently."""
    model.zero_grad()
    (-nn.functional.logsigmoid(chosen - rejected)).sum().backward()
    return torch.cat([chosen, rejected, *(parameter.grad.flatten() for parameter in model.parameters())])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[1:2], PAIRS[::-1]], ids=["three", "one", "reversed"])
def test_values_and_gradients_are_those_of_the_readable_way(model, pairs, reduction):
    assert can_pack(model, longest=96)
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
    assert packed.response_tokens.tolist() == [3, 7, 8, 4, 5, 9]
    assert packed.predicting_index.tolist() == [1, 2, 4, 1, 6, 2]
    laid_out = packed.input_ids[0][
        packed.rows
    ]  # [1 2 3 .] [6 7 8 .] [1 2 4 5] [6 9 . .]; padding repeats the first token
    assert laid_out.tolist() == [[1, 2, 3, 1], [6, 7, 8, 1], [1, 2, 4, 5], [6, 9, 1, 1]]
    assert packed.place.tolist() == [0, 1, 4, 2, 5, 6, 10, 11, 13]
    assert packed.again.tolist() == [8, 9, 12]


def test_values_of_response_tokens_stand_in_the_rows_behind_their_prompts():
    packed = pack_pairs([EncodedPair((1, 2), (3,), (4, 5)), EncodedPair((6,), (7, 8), (9,))])
    values, real = in_rows(torch.arange(1.0, 7.0), packed)
    assert values.tolist() == [[0, 0, 1, 0], [0, 2, 3, 0], [0, 0, 4, 5], [0, 6, 0, 0]]
    assert torch.equal(real, values > 0)


def test_token_logps_come_in_the_order_of_the_responses(tiny_model):
    packed = pack_pairs(PAIRS)
    logps = packed_token_logps(tiny_model, packed)
    assert logps.shape == packed.response_tokens.shape == (43,) and (logps < 0).all()
    alone = [packed_token_logps(tiny_model, pack_pairs([pair])) for pair in PAIRS]
    chosen = torch.cat([logps[: len(pair.chosen)] for logps, pair in zip(alone, PAIRS, strict=True)])
    torch.testing.assert_close(logps[:8], chosen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("window", "packed"), [(42, False), (43, True)])
def test_a_model_with_a_window_is_packed_if_every_sequence_fits_into_it(window, packed):
    """The longest is 40 tokens of prompt and 3 of response; both ways equal the readable one."""
    config = MistralConfig(**SMALL, num_key_value_heads=1, head_dim=16, sliding_window=window)
    model = MistralForCausalLM(config).eval().double()
    assert can_pack(model, longest=max(map(len, PAIRS))) is packed
    expected = batch_logps_readable(model, collate_pairs(PAIRS))
    torch.testing.assert_close(pair_logps(model, PAIRS), expected, rtol=1e-6, atol=0)


def test_company_changes_nothing(model):
    alone = torch.cat([torch.stack(pair_logps(model, [pair])) for pair in PAIRS], dim=1)
    torch.testing.assert_close(torch.stack(pair_logps(model, PAIRS)), alone, rtol=1e-6, atol=0)


def test_a_model_that_attends_in_another_way_is_not_packed_and_scored_all_the_same():
    """Gemma 2 has sliding windows, here of 8 tokens."""
    config = Gemma2Config(**SMALL, num_key_value_heads=1, head_dim=16, sliding_window=8)
    model = Gemma2ForCausalLM(config).eval().double()
    assert not can_pack(model, longest=43)
    expected = batch_logps_readable(model, collate_pairs(PAIRS))
    torch.testing.assert_close(pair_logps(model, PAIRS), expected, rtol=1e-9, atol=0)


def test_the_models_own_attention_is_back_afterwards_also_after_an_error(tiny_model):
    own = tiny_model.config._attn_implementation
    pair_logps(tiny_model, PAIRS)
    with pytest.raises(ZeroDivisionError), attention_named(tiny_model, "causal_rows"):
        _ = 1 / 0
    assert tiny_model.config._attn_implementation == own != "causal_rows"


def test_a_wrapper_that_keeps_the_model_in_module_scores_the_same(tiny_model, in_module):
    torch.testing.assert_close(pair_logps(in_module(tiny_model), PAIRS), pair_logps(tiny_model, PAIRS), rtol=0, atol=0)
