"""What a model predicts after a text."""

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.pairs.encode import encode_prompts


@torch.no_grad()
def next_token_logits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str) -> Float[Tensor, " vocab"]:
    """The scores of every token that could come after `text`; their softmax is pi(token | text). No gradient.

    The text is read as `sample` reads a prompt: without spaces at its end, and if it is too long, without its
    beginning and with a warning. Known value: the same number for all tokens if the model knows nothing.
    """
    (ids,) = encode_prompts(tokenizer, [text], max_length=context_length(model))
    return model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, -1]
