"""A few comparisons during a training run: what each token has gained or lost, and the policy's answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.generate import sample
from dpo_notes.language.load import context_length
from dpo_notes.language.score import response_token_logps
from dpo_notes.pairs.batches import collate_pairs
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.teaching.tokens import token_words

NEW_TOKENS = 40


@dataclass(frozen=True)
class Snapshot:
    """A policy after `step` steps: the log-ratios of each comparison's tokens, in nats, and an answer to each prompt.

    chosen[i], rejected[i]: one log-ratio to the reference for each token of the response, end of text included.
    """

    step: int
    chosen: Sequence[Float[Tensor, " ..."]]  # one axis: the tokens of the response
    rejected: Sequence[Float[Tensor, " ..."]]
    answers: Sequence[str]


class Snapshots:
    """Measures a policy during training, always on the same few comparisons and with the same random numbers.

    `words` holds the tokens of each comparison's chosen and rejected response, with spaces made visible.
    """

    def __init__(
        self,
        reference: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        pairs: Sequence[PreferencePair],
        *,
        seed: int,
    ):
        self.tokenizer, self.pairs, self.seed = tokenizer, list(pairs), seed
        encoded = encode_pairs(tokenizer, pairs, max_length=context_length(reference))
        self.batch = collate_pairs(encoded).to(reference.device)
        self.words = [(token_words(tokenizer, pair.chosen), token_words(tokenizer, pair.rejected)) for pair in encoded]
        self.before = self._logps(reference)
        self.taken: list[Snapshot] = []

    def take(self, policy: PreTrainedModel, *, step: int) -> None:
        """Store the log-ratios and answers of the policy after `step` steps of training. It is not changed."""
        ratios = self._logps(policy) - self.before
        by_response = [row[mask].cpu() for row, mask in zip(ratios, self.batch.response_mask, strict=True)]
        count = len(self.pairs)
        generator = torch.Generator().manual_seed(self.seed)
        prompts = [pair.prompt for pair in self.pairs]
        answers = sample(policy, self.tokenizer, prompts, generator=generator, max_new_tokens=NEW_TOKENS)
        self.taken.append(Snapshot(step, by_response[:count], by_response[count:], answers))

    @torch.no_grad()
    def _logps(self, model: PreTrainedModel) -> Float[Tensor, "rows time"]:
        return response_token_logps(model, self.batch.to(model.device)).to(self.batch.input_ids.device)
