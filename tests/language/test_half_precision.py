"""Under autocast a log-ratio of two similar policies is not drowned in the rounding of the logits.

GPT-2's logits lie near -70, where bfloat16 has steps of half a nat. The embedded model's are near 0, so here its head
is moved: a bias of -70 on every logit changes no probability, but it changes what rounding does.
"""

import pytest
import torch
from tensors import seeded

from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.language.score import batch_logps, pair_logps
from dpo_notes.maths import chunked_logps
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import load_pairs

MOST = 0.03  # nats, the standard deviation of a log-ratio's error


@pytest.fixture(scope="module")
def policies():
    """(policy, reference, 64 encoded pairs): the embedded model, and the same with every weight moved by 1%."""
    reference, tokenizer = load_model()
    policy, generator = frozen_copy(reference), seeded()
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(0.01 * weight.std() * torch.randn(weight.shape, generator=generator))
    return policy, reference, encode_pairs(tokenizer, load_pairs("embedded", split="test")[:64], max_length=128)


def padded(model, pairs):
    return batch_logps(model, collate_pairs(pairs))


def log_ratios(way, policies, *, half: bool) -> torch.Tensor:
    policy, reference, pairs = policies
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        return torch.cat(way(policy, pairs)) - torch.cat(way(reference, pairs))


def moved(monkeypatch) -> None:
    """Every product with the head is 70 lower, before whatever rounds it."""
    product = chunked_logps._product
    monkeypatch.setattr(chunked_logps, "_product", lambda a, b: product(a, b) - 70 * (b.shape[1] > 1000))


@pytest.mark.parametrize("way", [pair_logps, padded], ids=["packed", "padded"])
@pytest.mark.parametrize("offset", [0, -70])
def test_the_error_of_a_log_ratio_in_bfloat16_is_small_wherever_the_logits_lie(policies, way, offset, monkeypatch):
    exact = log_ratios(way, policies, half=False)
    if offset:
        moved(monkeypatch)
    error = log_ratios(way, policies, half=True) - exact
    assert exact.std() > 4 * MOST
    assert error.std() < MOST
