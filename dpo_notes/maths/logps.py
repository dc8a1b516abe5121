"""From logits to the log-probability of a response: the one place where tokens and predictions are shifted."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dpo_notes.maths.checks import check_same_shape
from dpo_notes.maths.errors import InputError


def token_logps(
    logits: Float[Tensor, "batch time vocab"], input_ids: Int[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Log-probability of each token given the earlier ones, in nats, indexed like `input_ids`.

    logps[:, t] = log p(input_ids[:, t] | input_ids[:, :t]) = logits[:, t - 1, token] - logsumexp(logits[:, t - 1, :])
    The logits at position t - 1 predict the token at position t. Nothing predicts the first token, so logps[:, 0] is 0.
    Naive: log_softmax(logits)[:, :-1].gather(…), which keeps a second tensor of batch × time × vocab for the gradient.

    logits: the model's scores for the next token, any finite values; float16 and bfloat16 are converted to float32.
    input_ids: the tokens that the model was given, from 0 to vocab - 1.
    Raises InputError where batch or time differ, or for a token outside the vocabulary.
    Known value: -log(vocab) at every position but the first when all logits are equal.
    """
    if logits.ndim != 3 or logits.shape[:2] != input_ids.shape:
        raise InputError(
            f"logits has shape {tuple(logits.shape)} and input_ids {tuple(input_ids.shape)}; "
            "expected (batch, time, vocab) and (batch, time)"
        )
    logps = picked_logps(logits[:, :-1], input_ids[:, 1:])
    return torch.cat([logps.new_zeros(len(logps), min(1, input_ids.shape[1])), logps], dim=1)


def picked_logps(
    predictions: Float[Tensor, "*positions vocab"], tokens: Int[Tensor, "*positions"]
) -> Float[Tensor, "*positions"]:
    """Log-probability of one picked token at each position, in nats, without a shift: each prediction with its token.

    logp = predictions[token] - logsumexp(predictions)

    predictions, tokens, errors: as logits and input_ids in token_logps, which shifts and then calls this function.
    Known value: -log(vocab) when all predictions are equal.
    """
    _check_ids(tokens, vocab=predictions.shape[-1])
    if predictions.dtype in (torch.float16, torch.bfloat16):
        predictions = predictions.float()  # 8 bits of mantissa would leave errors of a tenth of a nat in the sum
    picked = predictions.gather(-1, tokens.long()[..., None]).squeeze(-1)
    return picked - predictions.logsumexp(dim=-1)


def sequence_logps(
    logps: Float[Tensor, "batch time"], response_mask: Bool[Tensor, "batch time"], *, reduction: str = "sum"
) -> Float[Tensor, " batch"]:
    """Log-probability of each response, in nats ("sum"), or in nats per token ("mean").

    sum: log pi(y | x) = sum over response tokens t of logps[:, t]. mean: the same divided by their number.

    logps: as from token_logps. response_mask: True at the tokens of the response, including end of text, False at the
    prompt and at padding. Masked values count as 0, even if they are -inf or NaN, and get no gradient.
    reduction: "sum" or "mean", whichever the loss needs.
    Raises InputError for another reduction, a mask that is not boolean, and rows whose response is empty or includes
    position 0 (no token before it predicts it; put a start token first). On an accelerator, where reading the mask
    would stall the queue, such a row is NaN instead.
    Known value: -n * log(vocab), or -log(vocab) for "mean", for n response tokens under uniform predictions.
    """
    if reduction not in ("sum", "mean"):
        raise InputError(f'reduction is {reduction!r}; expected "sum" or "mean"')
    check_same_shape(logps=logps)
    if response_mask.dtype != torch.bool or response_mask.shape != logps.shape:
        raise InputError(
            f"response_mask is {response_mask.dtype} of shape {tuple(response_mask.shape)}; "
            f"expected torch.bool of shape {tuple(logps.shape)}, as logps"
        )
    empty = ~response_mask.any(dim=1)
    unpredicted = response_mask[:, :1].any(dim=1)
    if response_mask.device.type == "cpu":
        _check_rows(empty, "no response token", "at least one True")
        _check_rows(unpredicted, "True at position 0, which nothing predicts", "a start token or prompt before it")
    total = torch.where(response_mask, logps, 0).sum(dim=1)  # a product with the mask would turn -inf into NaN
    if reduction == "mean":
        total = total / response_mask.sum(dim=1)
    return total.masked_fill(empty | unpredicted, torch.nan)


def _check_ids(input_ids: Tensor, *, vocab: int) -> None:
    if input_ids.device.type != "cpu" or input_ids.numel() == 0:
        return  # on an accelerator gather itself fails; reading the ids would stall the queue
    low, high = (value.item() for value in input_ids.aminmax())
    if low < 0 or high >= vocab:
        raise InputError(
            f"input_ids holds {low if low < 0 else high}; expected 0 to {vocab - 1}, the model's vocabulary "
            "(a tokenizer of another model, or -100 from labels?)"
        )


def _check_rows(wrong: Tensor, what: str, expected: str) -> None:
    if wrong.any():
        raise InputError(f"response_mask row {wrong.nonzero()[0].item()} has {what}; expected {expected}")
