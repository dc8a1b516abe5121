"""Encoded pairs with the reference policy's scores, computed once or at every use."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dpo_notes.language.packed import PackedPairs
from dpo_notes.language.score import laid_out_logps, lay_out_pairs
from dpo_notes.pairs.batches import Batch
from dpo_notes.pairs.encode import EncodedPair
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import autocast, half_precision


@dataclass(frozen=True)
class Scored:
    """Pairs as a model takes them, and the reference's log-probabilities of both responses if these are known."""

    pairs: PackedPairs | Batch
    logps: Float[Tensor, "batch 2"] | None


class ReferencedPairs:
    """Pairs by number, with the reference's log-probabilities of both responses.

    With `config.cache_reference` the reference scores all pairs here, once, in the given `batches` (lists of pair
    numbers): policy and reference then see the same shapes and agree to the last digit before the first step.
    Otherwise it scores each batch when that is used. It must be on the device.
    Without a reference, its log-probabilities are 0: a loss then gets the policy's own.
    policy: says how pairs are laid out. reduction: of a response's log-probabilities, as the loss is defined.
    """

    def __init__(
        self,
        pairs: Sequence[EncodedPair],
        policy: PreTrainedModel,
        reference: PreTrainedModel | None,
        accelerator: Accelerator,
        config: DPOConfig,
        *,
        reduction: str,
        batches: Sequence[Sequence[int]],
    ):
        self.pairs, self.policy, self.reference, self.accelerator = pairs, policy, reference, accelerator
        self.config, self.reduction = config, reduction
        self.table: Tensor | None = None
        if reference is None:
            self.table = torch.zeros(len(pairs), 2)
        elif config.cache_reference:
            self.table = self._score_all(batches)

    def prepare(self, numbers: Sequence[int]) -> Scored:
        """The pairs with these numbers, laid out on the CPU."""
        device = self.accelerator.device
        half = half_precision(device, self.config.precision) is not None
        pairs = lay_out_pairs(self.policy, [self.pairs[number] for number in numbers], device=device, half=half)
        logps = None if self.table is None else self.table[list(numbers)]
        if device.type == "cuda":
            return Scored(pairs.pin_memory(), None if logps is None else logps.pin_memory())
        return Scored(pairs, logps)

    def reference_logps(self, batch: Scored) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """(chosen, rejected): the reference's log-probabilities, in nats, on the device."""
        if batch.logps is None:
            return self._score(batch)
        chosen, rejected = batch.logps.to(self.accelerator.device, non_blocking=True).unbind(1)
        return chosen, rejected

    @torch.no_grad()
    def _score(self, batch: Scored) -> tuple[Tensor, Tensor]:
        with autocast(self.accelerator.device, self.config.precision):
            return laid_out_logps(self.reference, batch.pairs, reduction=self.reduction)

    def _score_all(self, batches: Sequence[Sequence[int]]) -> Tensor:
        number = torch.promote_types(torch.float32, next(self.reference.parameters()).dtype)  # that of summed logps
        table = torch.zeros(len(self.pairs), 2, dtype=number, device=self.accelerator.device)
        left_out = sorted(set(range(len(self.pairs))).difference(*batches))
        everything = [*batches, left_out] if left_out else list(batches)
        for numbers in everything[self.accelerator.process_index :: self.accelerator.num_processes]:
            table[list(numbers)] = torch.stack(self._score(self.prepare(numbers)), dim=1)
        return self.accelerator.reduce(table, "sum").cpu()
