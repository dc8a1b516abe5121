"""Log-probabilities of tokens and of responses."""

import math

import pytest
import torch
from tensors import seeded
from torch.nn.functional import cross_entropy

from dpo_notes.maths import logps as logps_module
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.logps import picked_logps, sequence_logps, token_logps

BATCH, TIME, VOCAB = 3, 6, 11


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(BATCH, TIME, VOCAB, generator=seeded(), dtype=torch.float64)


@pytest.fixture
def input_ids() -> torch.Tensor:
    return torch.randint(VOCAB, (BATCH, TIME), generator=seeded(1))


@pytest.fixture
def response_mask() -> torch.Tensor:
    """Prompts of 2, 4 and 1 tokens, responses of 3, 1 and 5, the rest padding."""
    return torch.tensor([[0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 0], [0, 1, 1, 1, 1, 1]], dtype=torch.bool)


def test_three_tokens_by_hand():
    """Vocabulary of 2. Logits (log 3, 0) give probabilities 3/4, 1/4; logits (0, 0) give 1/2 each.

    Tokens 0, 0, 1: the first is not predicted, 0 after logits (log 3, 0) has log 3/4, 1 after (0, 0) has log 1/2.
    """
    logits = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0], [5.0, -5.0]]])
    expected = torch.tensor([[0.0, math.log(3 / 4), math.log(1 / 2)]])
    torch.testing.assert_close(token_logps(logits, torch.tensor([[0, 0, 1]])), expected)


def test_token_logps_equal_a_naive_loop(logits, input_ids):
    naive = torch.zeros(BATCH, TIME, dtype=torch.float64)
    for row in range(BATCH):
        for t in range(1, TIME):
            exponentials = [math.exp(score) for score in logits[row, t - 1].tolist()]
            naive[row, t] = math.log(exponentials[input_ids[row, t]] / sum(exponentials))
    torch.testing.assert_close(token_logps(logits, input_ids), naive)


def test_token_logps_are_minus_the_cross_entropy(logits, input_ids):
    oracle = -cross_entropy(logits[:, :-1].transpose(1, 2), input_ids[:, 1:], reduction="none")
    torch.testing.assert_close(token_logps(logits, input_ids)[:, 1:], oracle)


def test_probabilities_over_the_vocabulary_sum_to_one(logits, input_ids):
    total = torch.zeros(BATCH, TIME - 1, dtype=torch.float64)
    for token in range(VOCAB):
        total += token_logps(logits, torch.full_like(input_ids, token))[:, 1:].exp()
    torch.testing.assert_close(total, torch.ones_like(total))


def test_equal_logits_give_minus_log_vocab(input_ids):
    logps = token_logps(torch.zeros(BATCH, TIME, VOCAB), input_ids)
    torch.testing.assert_close(logps[:, 1:], torch.full((BATCH, TIME - 1), -math.log(VOCAB)))


def test_picked_logps_do_not_shift(logits, input_ids):
    """The prediction at t with the token at t + 1, flattened as in the fast path, gives what token_logps gives."""
    flat = picked_logps(logits[:, :-1].flatten(0, 1), input_ids[:, 1:].flatten())
    assert torch.equal(flat.view(BATCH, TIME - 1), token_logps(logits, input_ids)[:, 1:])


def test_the_first_column_is_zero(logits, input_ids):
    assert token_logps(logits, input_ids)[:, 0].tolist() == [0.0] * BATCH


def test_position_t_reads_the_logits_before_it_and_no_others(logits, input_ids):
    logits.requires_grad_()
    token_logps(logits, input_ids)[:, 3].sum().backward()
    assert logits.grad.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == [2]


def test_a_constant_added_to_all_logits_of_a_position_changes_nothing(logits, input_ids):
    shift = torch.arange(TIME, dtype=torch.float64)[None, :, None]
    torch.testing.assert_close(token_logps(logits + shift, input_ids), token_logps(logits, input_ids))


def test_a_single_token_has_nothing_to_predict():
    assert token_logps(torch.zeros(2, 1, VOCAB), torch.zeros(2, 1, dtype=torch.long)).tolist() == [[0.0], [0.0]]


def test_logits_of_ten_thousand_stay_finite_in_float32():
    """Margin of 2e4 between the two tokens: log-probabilities 0 and -2e4."""
    logits = torch.tensor([[[1e4, -1e4]] * 3], requires_grad=True)
    logps = token_logps(logits, torch.tensor([[0, 0, 1]]))
    logps.sum().backward()
    assert logps.tolist() == [[0.0, 0.0, -2e4]]
    assert logits.grad.isfinite().all()


def test_an_impossible_token_has_minus_infinity_and_no_nan():
    logits = torch.tensor([[[0.0, -math.inf]] * 2])
    assert token_logps(logits, torch.tensor([[0, 1]])).tolist() == [[0.0, -math.inf]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(logits, input_ids, dtype):
    half = logits.to(dtype)
    logps = token_logps(half, input_ids)
    assert logps.dtype == torch.float32
    torch.testing.assert_close(logps, token_logps(half.float(), input_ids), rtol=0, atol=0)


def test_the_gradient_keeps_no_second_copy_of_the_logits(logits, input_ids):
    logits.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        token_logps(logits, input_ids)
    large = [tensor for tensor in kept if tensor.numel() >= BATCH * (TIME - 1) * VOCAB]
    assert all(tensor.untyped_storage().data_ptr() == logits.untyped_storage().data_ptr() for tensor in large)


def test_token_logps_pass_gradcheck(logits, input_ids):
    assert torch.autograd.gradcheck(lambda scores: token_logps(scores, input_ids), logits.requires_grad_())


def test_sum_and_mean_of_a_response_by_hand():
    """Response tokens -1, -2 and -6: sum -9, mean -3. Prompt and padding do not count."""
    logps = torch.tensor([[0.0, -5.0, -1.0, -2.0, -6.0, -7.0]])
    mask = torch.tensor([[False, False, True, True, True, False]])
    assert sequence_logps(logps, mask).tolist() == [-9.0]
    assert sequence_logps(logps, mask, reduction="mean").tolist() == [-3.0]


def test_sequence_logps_are_products_of_probabilities(logits, input_ids, response_mask):
    probabilities = logits.softmax(dim=-1)
    logps = sequence_logps(token_logps(logits, input_ids), response_mask)
    for row in range(BATCH):
        product = 1.0
        for t in response_mask[row].nonzero().flatten().tolist():
            product *= probabilities[row, t - 1, input_ids[row, t]].item()
        assert logps[row].item() == pytest.approx(math.log(product))


def test_sum_is_mean_times_length(logits, input_ids, response_mask):
    logps = token_logps(logits, input_ids)
    mean = sequence_logps(logps, response_mask, reduction="mean")
    torch.testing.assert_close(sequence_logps(logps, response_mask), mean * response_mask.sum(dim=1))


def test_padding_and_prompt_change_neither_value_nor_gradient(logits, input_ids, response_mask):
    """Infinities and NaN where the mask is False: a product with the mask would spread them."""
    logps = token_logps(logits, input_ids)
    spoiled = logps.masked_fill(~response_mask, -math.inf)
    spoiled[0, 5] = math.nan
    spoiled.requires_grad_()
    total = sequence_logps(spoiled, response_mask)
    torch.testing.assert_close(total.detach(), sequence_logps(logps, response_mask))
    total.sum().backward()
    assert torch.equal(spoiled.grad, response_mask.double())


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([[0, 0, 1], [0, 0, 0]], "row 1 has no response token"),
        ([[0, 0, 1], [1, 1, 1]], "row 1 has True at position 0"),
    ],
)
def test_a_response_that_is_empty_or_begins_the_text_is_refused(mask, message):
    with pytest.raises(InputError, match=message):
        sequence_logps(torch.zeros(2, 3), torch.tensor(mask, dtype=torch.bool))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_where_the_mask_is_not_read_a_wrong_row_is_nan(reduction, monkeypatch):
    """As on an accelerator: row 0 is empty, row 1 holds position 0, row 2 is a response of -1 and -3."""
    monkeypatch.setattr(logps_module, "_check_rows", lambda *_: None)
    mask = torch.tensor([[0, 0, 0], [1, 1, 1], [0, 1, 1]], dtype=torch.bool)
    logps = sequence_logps(torch.tensor([[0.0, -1.0, -3.0]]).repeat(3, 1), mask, reduction=reduction)
    assert logps.isnan().tolist() == [True, True, False]
    assert logps[2].item() == {"sum": -4.0, "mean": -2.0}[reduction]


@pytest.mark.parametrize("reduction", ["average", "none", ""])
def test_another_reduction_is_refused(reduction):
    with pytest.raises(InputError, match='expected "sum" or "mean"'):
        sequence_logps(torch.zeros(1, 2), torch.tensor([[False, True]]), reduction=reduction)


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 3), torch.ones(2, 3, dtype=torch.long), torch.ones(1, 3, dtype=torch.bool)]
)
def test_a_mask_that_would_weigh_or_broadcast_is_refused(mask, types_unchecked):
    with pytest.raises(InputError, match=r"expected torch.bool of shape \(2, 3\)"):
        sequence_logps(torch.zeros(2, 3), mask)


@pytest.mark.parametrize("token", [VOCAB, -1, -100])
def test_a_token_outside_the_vocabulary_is_refused(logits, input_ids, token):
    input_ids[1, 2] = token
    with pytest.raises(InputError, match=f"input_ids holds {token}; expected 0 to {VOCAB - 1}"):
        token_logps(logits, input_ids)


@pytest.mark.parametrize("shape", [(BATCH, TIME - 1), (1, TIME), (TIME,)])
def test_ids_that_do_not_fit_the_logits_are_refused(logits, shape, types_unchecked):
    """gather would take a smaller index tensor without a word."""
    with pytest.raises(InputError, match="expected \\(batch, time, vocab\\) and \\(batch, time\\)"):
        token_logps(logits, torch.zeros(shape, dtype=torch.long))
