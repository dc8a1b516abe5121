"""Response log-probabilities: fast, readable and naive agree, and only response positions reach the output head."""

import math
from dataclasses import replace

import pytest
import torch
from by_hand import logp_by_hand
from tensors import doubles, seeded
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from dpo_notes.language.head import head_sees_only
from dpo_notes.language.score import (
    PAIRS_PER_FORWARD,
    batch_logps,
    batch_logps_readable,
    response_logits,
    response_logps,
)
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.batches import Batch, collate_pairs
from dpo_notes.pairs.encode import EncodedPair, encode_pairs
from dpo_notes.pairs.load import PreferencePair

SMALL = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 96}


def untied_gpt2(tiny: GPT2LMHeadModel) -> PreTrainedModel:
    """GPT-2 with an output head of its own."""
    tiny.config.tie_word_embeddings = False
    tiny.lm_head.weight = nn.Parameter(torch.randn(tiny.lm_head.weight.shape) * 0.2)
    return tiny


def gemma2(tiny: GPT2LMHeadModel) -> PreTrainedModel:
    """Tied head, rotary positions, sliding windows of 8 tokens, and logits squeezed into (-2, 2) after the head."""
    config = Gemma2Config(**SMALL, final_logit_softcapping=2.0, sliding_window=8, initializer_range=0.2)
    return Gemma2ForCausalLM(config)


def llama(tiny: GPT2LMHeadModel) -> PreTrainedModel:
    """Rotary positions and an output head of its own."""
    return LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=False, initializer_range=0.2))


@pytest.fixture(params=[lambda tiny: tiny, untied_gpt2, gemma2, llama], ids=["gpt2", "untied gpt2", "gemma2", "llama"])
def model(request, tiny_model) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param(tiny_model).eval()


@pytest.fixture
def batch(tiny_tokenizer, tiny_pairs) -> Batch:
    return collate_pairs(encode_pairs(tiny_tokenizer, tiny_pairs, max_length=96))


def assert_close(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor], relative: float = 1e-5) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=relative, atol=0, check_dtype=False)


def test_fast_readable_and_naive_agree_to_1e_5_relative(model, tiny_tokenizer, tiny_pairs):
    encoded = encode_pairs(tiny_tokenizer, tiny_pairs[:4], max_length=96)
    naive = doubles(*([logp_by_hand(model, p.prompt, r) for r in (p.chosen, p.rejected)] for p in encoded)).unbind(1)
    assert_close(response_logps(model, tiny_tokenizer, tiny_pairs[:4]), naive)
    assert_close(batch_logps(model, collate_pairs(encoded)), naive)
    assert_close(batch_logps_readable(model, collate_pairs(encoded)), naive)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_fast_and_readable_have_the_same_values_and_gradients(model, batch, reduction):
    """The loss of a DPO step, -log sigma(chosen - rejected), so that the two sides weigh differently."""
    values, gradients = [], []
    for way in (batch_logps, batch_logps_readable):
        chosen, rejected = way(model, batch, reduction=reduction)
        (-nn.functional.logsigmoid(chosen - rejected)).sum().backward()
        values.append((chosen, rejected))
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
        model.zero_grad()
    assert_close(*values)
    assert (gradients[0] - gradients[1]).norm() < 1e-5 * gradients[1].norm()
    assert gradients[1].norm() > 0.01


def test_the_mean_is_the_sum_over_the_number_of_response_tokens(tiny_model, batch):
    sums, means = (batch_logps(tiny_model, batch, reduction=reduction) for reduction in ("sum", "mean"))
    counts = batch.response_mask.sum(1).chunk(2)
    assert_close(means, tuple(total / count for total, count in zip(sums, counts, strict=True)), 1e-6)


def test_only_the_positions_that_predict_a_response_token_pass_through_the_head(model, batch):
    """Of 48 rows of some 80 columns; at the fast way's end the head is as it was, also after an error."""
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda head, inputs, output: seen.append(output.shape))
    batch_logps(model, batch)
    batch_logps_readable(model, batch)
    with pytest.raises(ZeroDivisionError), head_sees_only(model, torch.tensor([0])):
        _ = 1 / 0
    model(input_ids=batch.input_ids)
    rows, columns = batch.input_ids.shape
    tokens = int(batch.response_mask.sum())
    assert [shape[0] for shape in seen] == [tokens, rows, rows]
    assert seen[1:] == [(rows, columns, 400)] * 2
    assert tokens < 0.5 * rows * columns


def test_logits_come_in_the_order_of_the_response_tokens(tiny_model, batch):
    every = tiny_model(input_ids=batch.input_ids).logits
    rows, columns = batch.response_mask.nonzero(as_tuple=True)
    torch.testing.assert_close(response_logits(tiny_model, batch), every[rows, columns - 1], rtol=1e-4, atol=1e-5)


def test_a_wrapper_that_keeps_the_model_in_module_scores_the_same(tiny_model, in_module, batch):
    assert_close(batch_logps(in_module(tiny_model), batch), batch_logps(tiny_model, batch), 0)


def test_padding_is_neither_seen_nor_scored_whatever_token_it_is(tiny_model, tiny_tokenizer, tiny_pairs, batch):
    """Padding is end of text here, id 0; other ids in its place change nothing, nor does a pair's company."""
    assert tiny_tokenizer.pad_token_id == tiny_tokenizer.eos_token_id == 0
    scores = batch_logps(tiny_model, batch)
    lengths = torch.where(batch.response_mask, torch.arange(batch.response_mask.shape[1]) + 1, 0).amax(1, keepdim=True)
    is_padding = torch.arange(batch.input_ids.shape[1]) >= lengths
    assert is_padding.sum() > 1000
    noise = torch.randint(400, batch.input_ids.shape, generator=seeded())
    noisy = replace(batch, input_ids=torch.where(is_padding, noise, batch.input_ids))
    assert_close(batch_logps(tiny_model, noisy), scores, 0)
    alone = [response_logps(tiny_model, tiny_tokenizer, [pair]) for pair in tiny_pairs]
    assert_close(tuple(torch.cat(side) for side in zip(*alone, strict=True)), scores)


def test_scores_come_in_the_order_of_the_pairs(tiny_model, tiny_tokenizer, tiny_pairs):
    """24 pairs go through the model by length, in two batches; any order of them gives the scores in that order."""
    assert len(tiny_pairs) > PAIRS_PER_FORWARD
    order = torch.randperm(len(tiny_pairs), generator=seeded())
    scores = response_logps(tiny_model, tiny_tokenizer, tiny_pairs)
    shuffled = response_logps(tiny_model, tiny_tokenizer, [tiny_pairs[index] for index in order])
    assert_close(shuffled, tuple(side[order] for side in scores))
    swapped = [PreferencePair(pair.prompt, pair.rejected, pair.chosen) for pair in tiny_pairs]
    assert_close(response_logps(tiny_model, tiny_tokenizer, swapped), scores[::-1])


def test_equal_logits_give_each_token_and_the_end_of_text_one_part_of_the_vocabulary(tiny_model, tiny_tokenizer):
    """-(tokens + 1) * log 400, also for the first token after an empty prompt."""
    nn.init.zeros_(tiny_model.lm_head.weight)
    responses = " In France.", "Paris"
    counts = [len(ids) + 1 for ids in tiny_tokenizer(list(responses))["input_ids"]]
    scores = response_logps(tiny_model, tiny_tokenizer, [PreferencePair("", *responses)])
    assert_close(scores, tuple(torch.tensor([-count * math.log(400)]) for count in counts), 1e-6)


def test_the_probabilities_of_all_responses_of_one_token_and_of_longer_ones_sum_to_one(tiny_model):
    """Sum over tokens t of pi(t | x) = 1, when each is scored as a response cut after its first token."""
    pairs = [EncodedPair((5, 6, 7), (token,), (token, 0)) for token in range(400)]
    chosen, rejected = batch_logps(tiny_model, collate_pairs(pairs))
    torch.testing.assert_close(chosen.exp().sum().item(), 1.0, rtol=1e-5, atol=0)
    assert (rejected < chosen).all()


def test_the_gradient_flows_unless_it_is_reported_not_to(tiny_model, tiny_tokenizer, tiny_pairs):
    assert all(side.requires_grad for side in response_logps(tiny_model, tiny_tokenizer, tiny_pairs[:2]))
    with torch.no_grad():
        assert not any(side.requires_grad for side in response_logps(tiny_model, tiny_tokenizer, tiny_pairs[:2]))


def test_a_response_of_bfloat16_logits_is_summed_in_float32(tiny_model, batch):
    chosen, _ = batch_logps(tiny_model.bfloat16(), batch)
    assert chosen.dtype == torch.float32


def test_no_pairs_are_refused(tiny_model, tiny_tokenizer):
    with pytest.raises(InputError, match="no pairs to score; expected at least one"):
        response_logps(tiny_model, tiny_tokenizer, [])
