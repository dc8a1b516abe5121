"""Attention on segments, as a GPU computes it, with its one kernel replaced by a loop: the readable way's numbers."""

import pytest
import torch
import torch.nn.functional as F
from test_packed import PAIRS, model, scaled_by_layer, value_and_gradient  # noqa: F401
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right

from dpo_notes.language import score, segments
from dpo_notes.language.packed import pack_pairs
from dpo_notes.language.packed_forward import packed_token_logps
from dpo_notes.language.score import batch_logps_readable, lay_out_pairs, pair_logps
from dpo_notes.language.segments import has_flash_attention, with_segments
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import EncodedPair


def by_loop(
    query, key, value, query_starts, key_starts, longest_query, longest_keys, *, scale, window_size, enable_gqa
):
    """varlen_attn: one segment after the other, causal, the last query aligned with the last key."""
    assert window_size == (-1, 0) and query_starts.dtype == key_starts.dtype == torch.int32
    seen = []
    for a, b, c, d in zip(query_starts, query_starts[1:], key_starts, key_starts[1:], strict=False):
        assert b - a <= longest_query and d - c <= longest_keys
        q, k, v = (part.transpose(0, 1)[None] for part in (query[a:b], key[c:d], value[c:d]))
        mask = causal_lower_right(q.shape[2], k.shape[2])
        seen.append(F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=enable_gqa)[0])
    return torch.cat([part.transpose(0, 1) for part in seen])


@pytest.fixture(autouse=True)
def kernel(monkeypatch) -> None:
    monkeypatch.setattr(segments, "varlen_attn", by_loop)


def test_the_segments_of_two_pairs_by_hand():
    """Prompts of 2 and 1 tokens, chosen responses of 1 and 2, rejected ones of 2 and 1, filled up from 9 to 12."""
    plan = with_segments(pack_pairs([EncodedPair((1, 2), (3,), (4, 5)), EncodedPair((6,), (7, 8), (9,))]), multiple=4)
    assert plan.input_ids.tolist() == [[1, 2, 6, 3, 7, 8, 4, 5, 9, 0, 0, 0]]
    assert plan.position_ids.tolist() == [[0, 1, 0, 2, 1, 2, 2, 3, 1, 0, 0, 0]]
    parts = plan.segments
    assert plan.input_ids[0][parts.keys].tolist() == [1, 2, 6, 1, 2, 3, 6, 7, 8, 1, 2, 4, 5, 6, 9, 0, 0, 0]
    assert parts.query_starts.tolist() == [0, 2, 3, 4, 6, 8, 9, 12]
    assert parts.key_starts.tolist() == [0, 2, 3, 6, 9, 13, 15, 18]
    assert parts.own.tolist() == [0, 1, 2, 5, 7, 8, 11, 12, 14, 15, 16, 17]
    assert parts.twice.tolist() == [[3, 4, 6], [9, 10, 13]]
    assert (parts.longest_query, parts.longest_keys) == (3, 4)


@pytest.mark.parametrize("multiple", [1, 64, 256], ids=["no filling", "filled to 128", "filled to 256"])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[1:2], PAIRS[::-1]], ids=["three", "one", "reversed"])
def test_values_and_gradients_are_those_of_the_readable_way(model, pairs, multiple):  # noqa: F811
    packed = with_segments(pack_pairs(pairs), multiple=multiple)
    assert packed.input_ids.shape[1] % multiple == 0
    ours = value_and_gradient(model, *laid_out_logps_generally(model, packed))
    readable = value_and_gradient(model, *batch_logps_readable(model, collate_pairs(pairs)))
    assert (ours - readable).norm() < 1e-6 * readable.norm()


def laid_out_logps_generally(model, packed) -> tuple[Tensor, Tensor]:  # noqa: F811
    """Without GPT-2 by hand, which needs no attention of this kind."""
    logps = score.sequence_logps(*score.in_rows(packed_token_logps(model, packed), packed))
    chosen, rejected = logps.chunk(2)
    return chosen, rejected


def test_the_filling_changes_nothing_bit_by_bit(tiny_model):
    bare, filled = (
        packed_token_logps(tiny_model.double(), with_segments(pack_pairs(PAIRS), multiple=n)) for n in (1, 7)
    )
    torch.testing.assert_close(bare, filled, rtol=1e-14, atol=1e-14)


def test_only_a_gpu_in_half_precision_gets_segments(tiny_model, monkeypatch):
    """Others have no such kernel: the rest goes by causal rows."""
    assert not has_flash_attention(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not has_flash_attention(torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert has_flash_attention(torch.device("cuda"))
    monkeypatch.setattr(score, "has_flash_attention", lambda device: True)
    where = {"device": torch.device("cuda")}  # though the model is not there yet
    assert lay_out_pairs(tiny_model, PAIRS, **where, half=True).segments is not None
    assert lay_out_pairs(tiny_model, PAIRS, **where, half=False).segments is None


def test_a_model_in_training_mode_has_dropout_which_segments_have_not(tiny_model, monkeypatch):
    monkeypatch.setattr(score, "has_flash_attention", lambda device: True)
    monkeypatch.setattr(segments, "varlen_attn", None)
    with torch.autocast("cpu", torch.bfloat16):
        assert len(torch.stack(pair_logps(tiny_model.train(), PAIRS))) == 2


def test_under_autocast_pairs_are_scored_by_segments(tiny_model, monkeypatch):
    monkeypatch.setattr(score, "has_flash_attention", lambda device: True)
    exact = torch.stack(pair_logps(tiny_model, PAIRS))
    called = []
    monkeypatch.setattr(
        segments, "varlen_attn", lambda *args, **settings: called.append(1) or by_loop(*args, **settings)
    )
    with torch.autocast("cpu", torch.bfloat16):
        half = torch.stack(pair_logps(tiny_model, PAIRS))
    assert len(called) == 2  # one a layer
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0.05)


def test_the_plan_moves_as_a_whole():
    packed = with_segments(pack_pairs(PAIRS)).to("meta")
    assert packed.rows.is_meta and packed.segments.keys.is_meta and packed.segments.longest_query == 256 - 87
