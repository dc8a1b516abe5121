"""log p(text) of whole texts, read from their beginning: how well a model predicts a document."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.logps import sequence_logps, token_logps
from dpo_notes.pairs.batches import collate, in_order_of_length
from dpo_notes.pairs.encode import encode_prompts
from dpo_notes.pairs.tokenizing import token_ids

TEXTS_PER_FORWARD = 32


@torch.no_grad()
def text_logps(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> tuple[Float[Tensor, " texts"], Int[Tensor, " texts"]]:
    """(log p of each text in nats, tokens scored): summed over its tokens and the end of text, without a gradient.

    log p(text) = sum over t of log p(token_t | start, token_<t). The start token is read but not scored: it is there to
    predict the first word.
    Raises InputError for no texts, and for a text that does not fit into the context with both its ends.
    Known value: -tokens * log(vocabulary) for a model whose logits are all equal.
    """
    if not texts or isinstance(texts, str):
        raise InputError(f"texts is {texts!r:.80}; expected a list of at least one text")
    (start,) = encode_prompts(tokenizer, [""], max_length=1)
    encoded = [[*ids, tokenizer.eos_token_id] for ids in token_ids(tokenizer, texts)]
    longest = 1 + max(map(len, encoded))
    if longest > context_length(model):
        raise InputError(f"a text has {longest} tokens, both ends included; expected at most {context_length(model)}")
    logps = torch.empty(len(texts))
    for rows in in_order_of_length([len(ids) for ids in encoded], TEXTS_PER_FORWARD):
        batch = collate([start] * len(rows), [encoded[row] for row in rows]).to(model.device)
        logits = model(input_ids=batch.input_ids, use_cache=False).logits
        logps[rows] = sequence_logps(token_logps(logits, batch.input_ids), batch.response_mask).cpu()
    return logps, torch.tensor([len(ids) for ids in encoded])


def nats_per_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> float:
    """The model's mean surprise over all tokens of these texts, in nats: an estimate of its cross-entropy.

    -(sum of log p(text)) / (sum of tokens), with arguments and errors as in `text_logps`. Its exponential is the
    perplexity. Known value: log(vocabulary) for a model whose logits are all equal.
    """
    logps, tokens = text_logps(model, tokenizer, texts)
    return -logps.double().sum().item() / tokens.sum().item()
