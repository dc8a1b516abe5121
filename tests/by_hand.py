"""The score of a response by hand: text to tokens by the stated rule, then one forward pass for each token."""

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase


def tokens_by_hand(
    tokenizer: PreTrainedTokenizerBase, prompt: str, responses: tuple[str, str], *, max_length: int
) -> tuple[list[int], list[list[int]]]:
    """Prompt and responses apart, the prompt's last spaces moved over, end of text appended, and both cut to fit."""
    words = prompt.rstrip(" ")
    spaces = prompt[len(words) :]
    prompt_ids = ids_of(tokenizer, words) or [tokenizer.bos_token_id]
    response_ids = [ids_of(tokenizer, spaces + response) + [tokenizer.eos_token_id] for response in responses]
    room = max(max_length // 2, max_length - max(len(response) for response in response_ids))
    prompt_ids = prompt_ids[-room:]
    return prompt_ids, [response[: max_length - len(prompt_ids)] for response in response_ids]


def ids_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text by the tokenizer beneath, without anything that transformers may add."""
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


@torch.no_grad()
def logp_by_hand(model: PreTrainedModel, prompt: Sequence[int], response: Sequence[int]) -> float:
    """log pi(response | prompt), in nats: each token from the prefix before it, without padding, summed in float64."""
    total = 0.0
    for position, token in enumerate(response):
        logits = model(input_ids=torch.tensor([[*prompt, *response[:position]]])).logits[0, -1]
        total += logits.double().log_softmax(-1)[token].item()
    return total
