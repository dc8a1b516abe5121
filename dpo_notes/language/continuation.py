"""A text that grows token by token, with the scores of the next token and the probability of the new part."""

import math

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.pairs.encode import encode_prompts
from dpo_notes.pairs.tokenizing import texts_of


class Continuation:
    """A prompt and the tokens appended to it.

    `ids`: all tokens; `appended`: the new ones. `logits`: the model's scores for the next token, float32 on the CPU.
    `model_logp`: log pi(appended | prompt) in nats; `drawn_logp`: the same under the distributions that the tokens were
    drawn from, which a temperature or a cut makes different from the model's. Both are 0 at the start.
    If the prompt is too long for the context, only its end is read.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str):
        self.model, self.tokenizer, self.prompt = model, tokenizer, prompt
        (ids,) = encode_prompts(tokenizer, [prompt], max_length=4 * len(prompt) + 1)  # at most 4 bytes a character
        self.ids = list(ids[1 - context_length(model) :])
        self.appended: list[int] = []
        self.model_logp = self.drawn_logp = 0.0
        self._read()

    def append(self, token: int, *, probability: float) -> None:
        """Append one token; `probability`: its probability in the distribution that it was drawn from."""
        self.model_logp += self.logits.log_softmax(-1)[token].item()
        self.drawn_logp += math.log(probability)
        self.appended.append(token)
        self.ids.append(token)
        self._read()

    @property
    def ended(self) -> bool:
        """Whether end of text was appended, or the context is full."""
        return self.tokenizer.eos_token_id in self.appended or len(self.ids) >= context_length(self.model)

    @property
    def text(self) -> str:
        """Prompt and new part as one string, without end of text."""
        return texts_of(self.tokenizer, [self.ids])[0]

    @torch.no_grad()
    def _read(self) -> None:
        ids = torch.tensor([self.ids], device=self.model.device)
        self.logits = self.model(input_ids=ids, logits_to_keep=1).logits[0, -1].float().cpu()
