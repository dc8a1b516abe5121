"""DPO in its smallest pieces, each of which can be exchanged for a faulty one: the right animal of the zoo."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerBase

from dpo_notes.language.load import frozen_copy
from dpo_notes.pairs.encode import EncodedPair
from dpo_notes.pairs.load import PreferencePair


@dataclass(frozen=True)
class PaddedBatch:
    """Rows of prompt and response, padded on either side: the chosen ones first, then the rejected ones."""

    ids: Int[Tensor, "rows time"]
    mask: Bool[Tensor, "rows time"]  # True at the tokens of the response
    real: Int[Tensor, "rows time"]  # 1 at every token, 0 at padding: what attention may look at
    positions: Int[Tensor, "rows time"]  # counted from each row's first token


def encode(tokenizer: PreTrainedTokenizerBase, pair: PreferencePair) -> EncodedPair:
    """The pair as token ids: a clean border between prompt and response, and end of text after both responses."""
    prompt = tokenizer.encode(pair.prompt)
    responses = [tokenizer.encode(text) for text in (pair.chosen, pair.rejected)]
    chosen, rejected = ((*response, tokenizer.eos_token_id) for response in responses)
    return EncodedPair(tuple(prompt), chosen, rejected)


def collate(pairs: Sequence[EncodedPair], *, end: int, side: str) -> PaddedBatch:
    """The pairs as padded rows. `end`: the id of end of text, used as padding. `side`: where padding goes.

    In the lines below x is a prompt, y a response.
    """
    rows = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    ids = padded([[*x, *y] for x, y in rows], value=end, side=side)
    real = padded([[1] * len(x + y) for x, y in rows], value=0, side=side)
    mask = padded([[0] * len(x) + [1] * len(y) for x, y in rows], value=0, side=side)
    positions = (real.cumsum(1) - 1).clamp(min=0)
    return PaddedBatch(ids, mask.bool(), real, positions)


def padded(rows: list[list[int]], *, value: int, side: str) -> Int[Tensor, "rows time"]:
    """The rows as one tensor, filled up with `value` on the side "right" or "left" to the length of the longest."""
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value, padding_side=side)


def score(model: nn.Module, batch: PaddedBatch) -> Float[Tensor, " rows"]:
    """log pi(y | x) of each row, in nats: log-softmax, shift by one, gather, mask, sum."""
    logits = model(input_ids=batch.ids, attention_mask=batch.real, position_ids=batch.positions).logits
    log_probs = logits.log_softmax(dim=-1)
    predictions, tokens = log_probs[:, :-1], batch.ids[:, 1:]
    scored = batch.mask[:, 1:]
    logps = predictions.gather(-1, tokens[..., None]).squeeze(-1)
    return (logps * scored).sum(dim=1)


def rewards(
    policy_logps: Float[Tensor, " rows"], reference_logps: Float[Tensor, " rows"], *, beta: float
) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
    """(chosen, rejected): the implicit reward of each response, beta times its log-ratio, in nats."""
    logratios = policy_logps - reference_logps
    chosen, rejected = (beta * logratios).chunk(2)
    return chosen, rejected


def loss(chosen: Float[Tensor, " pairs"], rejected: Float[Tensor, " pairs"]) -> Float[Tensor, " pairs"]:
    """−log sigma(margin) of each pair, in nats (Rafailov et al. 2023, arXiv 2305.18290, Eq. 7)."""
    margins = chosen - rejected
    return -logsigmoid(margins)


def start(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """(policy, reference): the model itself with dropout off, and a frozen copy of it."""
    reference = frozen_copy(model)
    policy = model.eval()
    return policy, reference


@dataclass(frozen=True)
class Pipeline:
    """The stages of DPO from text to one step of training. dataclasses.replace(RIGHT, score=…) puts in a faulty one."""

    encode: Callable = encode
    collate: Callable = collate
    score: Callable = score
    rewards: Callable = rewards
    loss: Callable = loss
    start: Callable = start

    def batch(
        self, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], *, side: str = "right"
    ) -> PaddedBatch:
        """Text to padded rows."""
        encoded = [self.encode(tokenizer, pair) for pair in pairs]
        return self.collate(encoded, end=tokenizer.eos_token_id, side=side)

    def measure(
        self, policy: nn.Module, reference: nn.Module, batch: PaddedBatch, *, beta: float
    ) -> dict[str, Float[Tensor, " pairs"]]:
        """What a log of training is made of, for each pair; "loss" and "logps/…" carry a gradient."""
        with torch.no_grad():
            reference_logps = self.score(reference, batch)
        policy_logps = self.score(policy, batch)
        chosen, rejected = self.rewards(policy_logps, reference_logps, beta=beta)
        logps_chosen, logps_rejected = policy_logps.chunk(2)
        return {
            "loss": self.loss(chosen, rejected),
            "rewards/margins": (chosen - rejected).detach(),
            "rewards/accuracies": (chosen > rejected).to(chosen.dtype),
            "logps/chosen": logps_chosen,
            "logps/rejected": logps_rejected,
        }

    def step(
        self,
        policy: nn.Module,
        reference: nn.Module,
        batch: PaddedBatch,
        optimizer: torch.optim.Optimizer,
        *,
        beta: float,
    ) -> dict[str, float]:
        """One step of training; the row of its log, measured before the weights move."""
        measured = self.measure(policy, reference, batch, beta=beta)
        optimizer.zero_grad()
        measured["loss"].mean().backward()
        grad_norm = clip_grad_norm_(policy.parameters(), float("inf"))  # the norm alone: nothing is clipped
        optimizer.step()
        return {name: values.mean().item() for name, values in measured.items()} | {"grad_norm": grad_norm.item()}


RIGHT = Pipeline()
