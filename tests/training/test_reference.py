"""What the reference says of the pairs, scored once or at every use."""

from dataclasses import dataclass

import pytest
import torch

from dpo_notes.language import score
from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import batch_logps_readable
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.reference import ReferencedPairs

BATCHES = [[3, 0, 5], [1, 2], [7, 6]]  # 4 and 8 are left out


@dataclass
class Setting:
    """Nine encoded pairs and a reference."""

    encoded: list
    reference: torch.nn.Module

    def referenced(self, **changes) -> ReferencedPairs:
        settings = {
            "policy": self.reference,
            "reference": self.reference,
            "config": DPOConfig(),
            "reduction": "sum",
            "batches": BATCHES,
        } | changes
        return ReferencedPairs(self.encoded, accelerator=new_accelerator(), **settings)


def logps(referenced: ReferencedPairs, numbers: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return referenced.reference_logps(referenced.prepare(numbers))


@pytest.fixture
def nine(tiny_tokenizer, tiny_model, tiny_pairs) -> Setting:
    encoded = encode_pairs(tiny_tokenizer, tiny_pairs[:9], max_length=96)
    return Setting(encoded, frozen_copy(tiny_model))


@pytest.mark.parametrize("cache_reference", [True, False])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("numbers", [[5, 3], [4], [8, 0, 4, 7]])
def test_any_batch_gets_what_the_reference_says_of_its_pairs_by_the_readable_route(
    nine, cache_reference, reduction, numbers
):
    config = DPOConfig(cache_reference=cache_reference)
    with torch.no_grad():
        scores = logps(nine.referenced(config=config, reduction=reduction), numbers)
        pairs = [nine.encoded[number] for number in numbers]
        by_hand = batch_logps_readable(nine.reference, collate_pairs(pairs), reduction=reduction)
    torch.testing.assert_close(scores, by_hand, rtol=1e-5, atol=0)


def test_the_cache_holds_the_scores_of_the_very_batches_it_was_given(nine):
    """Bit by bit: the policy's first scores of the same batches then differ by exactly 0."""
    cached, live = nine.referenced(), nine.referenced(config=DPOConfig(cache_reference=False))
    for numbers in BATCHES:
        for ours, theirs in zip(logps(cached, numbers), logps(live, numbers), strict=True):
            assert torch.equal(ours, theirs)


def test_the_cache_is_as_precise_as_the_reference(nine):
    precise = frozen_copy(nine.reference).double()
    cached, live = (nine.referenced(reference=precise, config=DPOConfig(cache_reference=on)) for on in (True, False))
    for ours, theirs in zip(logps(cached, BATCHES[0]), logps(live, BATCHES[0]), strict=True):
        assert ours.dtype == torch.float64
        assert torch.equal(ours, theirs)


def test_a_cached_reference_is_not_asked_again_and_a_live_one_is(nine):
    cached, live = nine.referenced(), nine.referenced(config=DPOConfig(cache_reference=False))
    before = [logps(pairs, [0])[0] for pairs in (cached, live)]
    with torch.no_grad():
        nine.reference.lm_head.weight.mul_(2)
    after = [logps(pairs, [0])[0] for pairs in (cached, live)]
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_reference_and_policy_attend_in_the_same_way_though_the_policy_reaches_the_gpu_later(nine, monkeypatch):
    """Where the run computes decides, not where the policy is, nor its mode, before the first step."""
    asked = []
    monkeypatch.setattr(score, "has_flash_attention", lambda device: asked.append(device) or False)
    referenced = nine.referenced(policy=nine.reference.train(), config=DPOConfig(precision="bf16"))
    assert asked == [referenced.accelerator.device] * 4


def test_the_reference_gets_no_gradient_even_where_it_could(nine):
    nine.reference.requires_grad_(True)
    for cache_reference in (True, False):
        chosen, rejected = logps(nine.referenced(config=DPOConfig(cache_reference=cache_reference)), [0, 1])
        assert not chosen.requires_grad
        assert not rejected.requires_grad


@pytest.mark.parametrize("cache_reference", [True, False])
def test_without_a_reference_its_log_probabilities_count_as_0(nine, cache_reference):
    config = DPOConfig(cache_reference=cache_reference)
    chosen, rejected = logps(nine.referenced(reference=None, config=config), [0, 4, 1])
    assert chosen.tolist() == rejected.tolist() == [0.0, 0.0, 0.0]


def test_bf16_scores_are_rounded_and_near_those_of_fp32(nine):
    """bfloat16 has 8 bits: the sum over a response of some -100 nats moves by a little, and does move."""
    half, full = (nine.referenced(config=DPOConfig(precision=precision)) for precision in ("bf16", "fp32"))
    rounded, exact = logps(half, [0, 1])[0], logps(full, [0, 1])[0]
    assert rounded.dtype == exact.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=2e-2, atol=0)
