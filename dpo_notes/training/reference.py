"""Encoded pairs with the reference policy's scores, computed once or at every use."""

from collections.abc import Sequence

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from dpo_notes.language.score import pair_logps
from dpo_notes.pairs.encode import EncodedPair
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import autocast


class ReferencedPairs:
    """Pairs by number, with the reference's log-probabilities of both responses on the device.

    With `config.cache_reference` the reference scores all pairs here, once, in the given `batches` (lists of pair
    numbers): policy and reference then see the same shapes and agree to the last digit before the first step.
    Otherwise it scores each batch when that is used.
    Without a reference, its log-probabilities are 0: a loss then gets the policy's own.
    reduction: of a response's log-probabilities, as the loss is defined.
    """

    def __init__(
        self,
        pairs: Sequence[EncodedPair],
        reference: PreTrainedModel | None,
        accelerator: Accelerator,
        config: DPOConfig,
        *,
        reduction: str,
        batches: Sequence[Sequence[int]],
    ):
        self.pairs, self.reference, self.accelerator = pairs, reference, accelerator
        self.config, self.reduction = config, reduction
        self.table: Tensor | None = None
        if config.cache_reference or reference is None:
            self.table = self._score_all(batches)

    def batch(
        self, numbers: Sequence[int]
    ) -> tuple[list[EncodedPair], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """(pairs, chosen, rejected): the pairs with these numbers, and the reference's log-probabilities, in nats."""
        pairs = [self.pairs[number] for number in numbers]
        if self.table is None:
            chosen, rejected = self._score(pairs)
        else:
            chosen, rejected = self.table[list(numbers)].to(self.accelerator.device, non_blocking=True).unbind(1)
        return pairs, chosen, rejected

    @torch.no_grad()
    def _score(self, pairs: Sequence[EncodedPair]) -> tuple[Tensor, Tensor]:
        with autocast(self.accelerator.device, self.config.precision):
            return pair_logps(self.reference, pairs, reduction=self.reduction)

    def _score_all(self, batches: Sequence[Sequence[int]]) -> Tensor:
        if self.reference is None:
            return torch.zeros(len(self.pairs), 2)
        number = torch.promote_types(torch.float32, next(self.reference.parameters()).dtype)  # that of summed logps
        table = torch.zeros(len(self.pairs), 2, dtype=number, device=self.accelerator.device)
        left_out = sorted(set(range(len(self.pairs))).difference(*batches))
        everything = [*batches, left_out] if left_out else list(batches)
        for numbers in everything[self.accelerator.process_index :: self.accelerator.num_processes]:
            table[list(numbers)] = torch.stack(self._score([self.pairs[number] for number in numbers]), dim=1)
        return self.accelerator.reduce(table, "sum").cpu()
