"""The faults: each function is one of `right.py` with one line changed, unmarked. Do not copy from here."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from transformers import PreTrainedTokenizerBase

from dpo_notes.language.load import frozen_copy
from dpo_notes.lessons.computing_log_probabilities.zoo.right import PaddedBatch, padded
from dpo_notes.pairs.encode import EncodedPair
from dpo_notes.pairs.load import PreferencePair


def pair_swapped(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> EncodedPair:
    """encode, with the rejected response in the chosen one's place."""
    prompt = tokenizer.encode(pair.prompt)
    responses = [tokenizer.encode(text) for text in (pair.rejected, pair.chosen)]
    chosen, rejected = ((*response, tokenizer.eos_token_id) for response in responses)
    return EncodedPair(tuple(prompt), chosen, rejected)


def border_merged(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> EncodedPair:
    """encode, with the response cut out of the whole text's tokens."""
    prompt = tokenizer.encode(pair.prompt)
    responses = [tokenizer.encode(pair.prompt + text)[len(prompt) :] for text in (pair.chosen, pair.rejected)]
    chosen, rejected = ((*response, tokenizer.eos_token_id) for response in responses)
    return EncodedPair(tuple(prompt), chosen, rejected)


def end_missing(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> EncodedPair:
    """encode, without end of text."""
    prompt = tokenizer.encode(pair.prompt)
    responses = [tokenizer.encode(text) for text in (pair.chosen, pair.rejected)]
    chosen, rejected = (tuple(response) for response in responses)
    return EncodedPair(tuple(prompt), chosen, rejected)


def prompt_scored(pairs: Sequence[EncodedPair], *, end: int, side: str) -> PaddedBatch:
    """collate, with the prompt in the mask."""
    rows = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    ids = padded([[*x, *y] for x, y in rows], value=end, side=side)
    real = padded([[1] * len(x + y) for x, y in rows], value=0, side=side)
    mask = padded([[1] * len(x) + [1] * len(y) for x, y in rows], value=0, side=side)
    positions = (real.cumsum(1) - 1).clamp(min=0)
    return PaddedBatch(ids, mask.bool(), real, positions)


def end_masked(pairs: Sequence[EncodedPair], *, end: int, side: str) -> PaddedBatch:
    """collate, with end of text taken for padding, as their ids are equal."""
    rows = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    ids = padded([[*x, *y] for x, y in rows], value=end, side=side)
    real = padded([[1] * len(x + y) for x, y in rows], value=0, side=side)
    mask = padded([[0] * len(x) + [token != end for token in y] for x, y in rows], value=0, side=side)
    positions = (real.cumsum(1) - 1).clamp(min=0)
    return PaddedBatch(ids, mask.bool(), real, positions)


def pad_scored(pairs: Sequence[EncodedPair], *, end: int, side: str) -> PaddedBatch:
    """collate, with the padding in the mask."""
    rows = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    ids = padded([[*x, *y] for x, y in rows], value=end, side=side)
    real = padded([[1] * len(x + y) for x, y in rows], value=0, side=side)
    mask = padded([[0] * len(x) + [1] * len(y) for x, y in rows], value=1, side=side)
    positions = (real.cumsum(1) - 1).clamp(min=0)
    return PaddedBatch(ids, mask.bool(), real, positions)


def positions_from_the_edge(pairs: Sequence[EncodedPair], *, end: int, side: str) -> PaddedBatch:
    """collate, with positions counted from the edge of the row, padding included."""
    rows = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    ids = padded([[*x, *y] for x, y in rows], value=end, side=side)
    real = padded([[1] * len(x + y) for x, y in rows], value=0, side=side)
    mask = padded([[0] * len(x) + [1] * len(y) for x, y in rows], value=0, side=side)
    positions = torch.arange(ids.shape[1]).expand_as(ids)
    return PaddedBatch(ids, mask.bool(), real, positions)


def log_forgotten(model: nn.Module, batch: PaddedBatch) -> Float[Tensor, " rows"]:
    """score, with probabilities in the place of their logarithms."""
    logits = model(input_ids=batch.ids, attention_mask=batch.real, position_ids=batch.positions).logits
    log_probs = logits.softmax(dim=-1)
    predictions, tokens = log_probs[:, :-1], batch.ids[:, 1:]
    scored = batch.mask[:, 1:]
    logps = predictions.gather(-1, tokens[..., None]).squeeze(-1)
    return (logps * scored).sum(dim=1)


def no_shift(model: nn.Module, batch: PaddedBatch) -> Float[Tensor, " rows"]:
    """score, with each token looked up in the prediction that the model made after reading it."""
    logits = model(input_ids=batch.ids, attention_mask=batch.real, position_ids=batch.positions).logits
    log_probs = logits.log_softmax(dim=-1)
    predictions, tokens = log_probs[:, 1:], batch.ids[:, 1:]
    scored = batch.mask[:, 1:]
    logps = predictions.gather(-1, tokens[..., None]).squeeze(-1)
    return (logps * scored).sum(dim=1)


def mask_shifted(model: nn.Module, batch: PaddedBatch) -> Float[Tensor, " rows"]:
    """score, with the mask one token late."""
    logits = model(input_ids=batch.ids, attention_mask=batch.real, position_ids=batch.positions).logits
    log_probs = logits.log_softmax(dim=-1)
    predictions, tokens = log_probs[:, :-1], batch.ids[:, 1:]
    scored = batch.mask[:, :-1]
    logps = predictions.gather(-1, tokens[..., None]).squeeze(-1)
    return (logps * scored).sum(dim=1)


def mean_for_sum(model: nn.Module, batch: PaddedBatch) -> Float[Tensor, " rows"]:
    """score, as a mean over the tokens."""
    logits = model(input_ids=batch.ids, attention_mask=batch.real, position_ids=batch.positions).logits
    log_probs = logits.log_softmax(dim=-1)
    predictions, tokens = log_probs[:, :-1], batch.ids[:, 1:]
    scored = batch.mask[:, 1:]
    logps = predictions.gather(-1, tokens[..., None]).squeeze(-1)
    return (logps * scored).sum(dim=1) / scored.sum(dim=1)


def reference_left_out(
    policy_logps: Float[Tensor, " rows"], reference_logps: Float[Tensor, " rows"], *, beta: float
) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """rewards, of log-probabilities instead of log-ratios."""
    logratios = policy_logps
    chosen, rejected = (beta * logratios).chunk(2)
    return chosen, rejected


def beta_missing(
    policy_logps: Float[Tensor, " rows"], reference_logps: Float[Tensor, " rows"], *, beta: float
) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """rewards, with beta forgotten."""
    logratios = policy_logps - reference_logps
    chosen, rejected = logratios.chunk(2)
    return chosen, rejected


def sign_flipped(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    """loss, for the wrong sign of the margin."""
    margins = chosen - rejected
    return -logsigmoid(-margins)


def reference_trained(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """start, with the policy itself as reference."""
    reference = model
    policy = model.eval()
    return policy, reference


def dropout_left_on(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """start, with the policy in training mode."""
    reference = frozen_copy(model)
    policy = model.train()
    return policy, reference
