"""Sampling from a language model with a generator: greedy, temperature, top-k and top-p."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.encode import encode_prompts
from dpo_notes.pairs.tokenizing import texts_of

PROMPTS_PER_FORWARD = 128


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_new_tokens: int,
) -> list[str]:
    """One response text for each prompt, without end of text; at `max_new_tokens` it is simply cut off.

    temperature: divides the logits; 0 takes the likeliest token (greedy). top_k: keeps the k likeliest tokens; 0 keeps
    all. top_p: keeps the smallest set of likeliest tokens with at least this probability, after temperature and top_k.
    Prompts too long for the context lose their beginning, with a warning. Raises InputError for values outside these
    ranges, and for a single text instead of a list of prompts.
    Known value: with temperature 1 and nothing cut, a response y comes with probability pi(y | x).
    """
    if isinstance(prompts, str):  # which is a sequence of letters
        raise InputError(f"prompts is the text {prompts!r:.80}; expected a list of texts")
    room = context_length(model) - max_new_tokens
    if room < 1 or max_new_tokens < 1:
        raise InputError(f"max_new_tokens is {max_new_tokens}; expected 1 to {context_length(model) - 1}")
    ids = sample_ids(
        model,
        encode_prompts(tokenizer, prompts, max_length=room),
        eos_id=tokenizer.eos_token_id,
        generator=generator,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
    )
    return texts_of(tokenizer, ids)


@torch.no_grad()
def sample_ids(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    eos_id: int,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    max_new_tokens: int,
) -> list[list[int]]:
    """One response for each tokenized prompt, as ids, ending in `eos_id` unless cut. Arguments as in `sample`."""
    if not temperature >= 0 or top_k < 0 or not 0 < top_p <= 1:
        raise InputError(
            f"temperature is {temperature}, top_k {top_k}, top_p {top_p}; expected at least 0, at least 0, above 0 to 1"
        )
    probs_of = partial(next_token_probs, temperature=temperature, top_k=top_k, top_p=top_p)
    responses = []
    for start in range(0, len(prompts), PROMPTS_PER_FORWARD):
        part = prompts[start : start + PROMPTS_PER_FORWARD]
        responses += _respond(model, part, probs_of, eos_id=eos_id, generator=generator, max_new_tokens=max_new_tokens)
    return responses


def _respond(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    probs_of: Callable[[Tensor], Tensor],
    *,
    eos_id: int,
    generator: torch.Generator,
    max_new_tokens: int,
) -> list[list[int]]:
    """The responses to one batch of prompts. A row that has ended leaves the batch, so it costs no more computation."""
    longest = max(map(len, prompts))
    input_ids = torch.tensor([(eos_id,) * (longest - len(prompt)) + tuple(prompt) for prompt in prompts])
    padding = torch.tensor([longest - len(prompt) for prompt in prompts])
    # Padded on the left, so that every next token is in the last column. GPT-2 would count positions from the first
    # column, so we pass positions that count from the first real token.
    mask = (torch.arange(longest) >= padding[:, None]).to(model.device)
    positions = (torch.arange(longest) - padding[:, None]).clamp(min=0).to(model.device)
    tokens, cache = input_ids.to(model.device), DynamicCache(config=model.config)
    rows = torch.arange(len(prompts))  # those that have not ended
    responses = [[] for _ in prompts]
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=tokens,
            attention_mask=mask.long(),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        # One number for every prompt, ended or not, so that no response depends on when another one ends.
        numbers = torch.rand(len(prompts), generator=generator, device=generator.device, dtype=torch.float64).cpu()
        next_ids = _draw(probs_of(logits.float()), numbers[rows]).cpu()
        if next_ids.max() == logits.shape[-1]:  # no sum reached its target
            raise InputError("the model predicts NaN; expected numbers (has its training diverged?)")
        for row, token in zip(rows.tolist(), next_ids.tolist(), strict=True):
            responses[row].append(token)
        going_on = (next_ids != eos_id).nonzero().squeeze(1)
        if len(going_on) == 0:
            break
        if len(going_on) < len(rows):
            rows, next_ids = rows[going_on], next_ids[going_on]
            kept = going_on.to(model.device)
            mask, positions = mask[kept], positions[kept]
            cache.reorder_cache(kept)  # every kind of layer has this method
        tokens, positions = next_ids[:, None].to(model.device), positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return responses


def next_token_probs(
    logits: Float[Tensor, "batch vocab"], *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Float[Tensor, "batch vocab"]:
    """The distribution that the next token is drawn from: temperature, then top-k, then top-p, each renormalised.

    Temperature divides the logits: p^(1/T), renormalised. Of equally likely tokens, the lower id goes first.
    Known value: softmax(logits) at temperature 1, top_k 0, top_p 1.
    """
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    # Less the largest first, so that a low temperature brings -infinity to the others, never infinity to the likeliest.
    probs = ((logits - logits.amax(dim=-1, keepdim=True)) / temperature).softmax(-1)
    if top_k == 0 and top_p == 1:
        return probs
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    if top_k:
        ordered[:, top_k:] = 0
        ordered = ordered / ordered.sum(-1, keepdim=True)
    if top_p < 1:  # a token stays while the likelier ones together fall short of top_p: the smallest sufficient set
        ordered = ordered * (ordered.cumsum(-1) - ordered < top_p)
    return torch.zeros_like(probs).scatter(-1, order, ordered / ordered.sum(-1, keepdim=True))


def _draw(probs: Float[Tensor, "batch vocab"], numbers: Float[Tensor, " batch"]) -> Tensor:
    """In each row the token that a number from [0, 1) falls on, with the probabilities side by side from 0 to 1."""
    # In float64, so that the running sum loses no float32 probability; Apple's GPUs have no float64.
    sums = probs.to(torch.float32 if probs.device.type == "mps" else torch.float64).cumsum(-1)
    # The first token whose sum reaches 1 - number, which is above 0, so never a token of probability 0.
    targets = (1 - numbers).to(sums) * sums[:, -1]
    return torch.searchsorted(sums, targets[:, None]).squeeze(1)
