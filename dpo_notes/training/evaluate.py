"""What a policy does when it speaks for itself: its divergence from the reference, and its reward where that is known."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.batches import collate
from dpo_notes.language.encode import encode_prompts
from dpo_notes.language.generate import sample_ids
from dpo_notes.language.load import context_length
from dpo_notes.language.score import response_logits
from dpo_notes.maths.bradley_terry import preference_probability
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.worlds import reviews

ROWS_PER_FORWARD = 8


def on_policy_metrics(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
) -> dict[str, float]:
    """Metrics of one response to each prompt, sampled from the policy at temperature 1 with nothing cut away.

    With a reference, kl: KL(policy || reference) in nats a response; kl_error: its standard error (0 for a single
    prompt, which cannot tell it). Always, length: tokens a response, end of text included. Where all prompts belong to
    the review world, reward: the mean of the raters' reward; grammatical: the share of texts that the grammar could
    have written.
    Responses end at `max_new_tokens`, so the KL is that of their first `max_new_tokens` tokens.
    Known value: kl is 0 when the policy is the reference.
    """
    max_new_tokens = min(max_new_tokens, context_length(policy) - 1)
    prompt_ids = encode_prompts(tokenizer, prompts, max_length=context_length(policy) - max_new_tokens)
    eos_id = tokenizer.eos_token_id
    response_ids = sample_ids(policy, prompt_ids, eos_id=eos_id, generator=generator, max_new_tokens=max_new_tokens)
    metrics = {"length": sum(map(len, response_ids)) / len(response_ids)}
    if reference is not None:
        kl = response_kl(policy, reference, prompt_ids, response_ids)
        metrics["kl"] = kl.mean().item()
        metrics["kl_error"] = kl.std().item() / len(kl) ** 0.5 if len(kl) > 1 else 0.0
    if all(map(reviews.is_prompt, prompts)):
        responses = tokenizer.batch_decode(response_ids, skip_special_tokens=True)
        metrics["reward"] = reviews.reward(prompts, responses).mean().item()
        texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        metrics["grammatical"] = sum(map(reviews.is_grammatical, texts)) / len(texts)
    return metrics


@torch.no_grad()
def response_kl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompt_ids: Sequence[tuple[int, ...]],
    response_ids: Sequence[Sequence[int]],
) -> Float[Tensor, " batch"]:
    """For each sampled response y, the sum over its tokens t of KL(policy(. | x, y_<t) || reference(. | x, y_<t)), in nats.

    Its mean over responses sampled from the policy is KL(policy || reference) (the chain rule of KL). Each term is
    exact over the whole vocabulary, not log pi - log pi_ref of the one token drawn: the same mean, less noise.
    """
    totals = []
    for start in range(0, len(prompt_ids), ROWS_PER_FORWARD):
        prompts, responses = (ids[start : start + ROWS_PER_FORWARD] for ids in (prompt_ids, response_ids))
        batch = collate(prompts, responses).to(policy.device)
        log_probs = [response_logits(model, batch).float().log_softmax(-1) for model in (policy, reference)]
        per_token = kl_divergence(*log_probs)
        row = batch.response_index // batch.input_ids.shape[1]
        totals.append(per_token.new_zeros(len(batch.input_ids)).index_add(0, row, per_token))
    return torch.cat(totals)


def bayes_accuracy(reward_chosen: Float[Tensor, " batch"], reward_rejected: Float[Tensor, " batch"]) -> float:
    """The best accuracy that any predictor can expect on Bradley–Terry labels of these pairs, from 1/2 to 1.

    Mean over pairs of max(p, 1 - p), p = sigma(reward_chosen - reward_rejected): even who knows the true rewards
    misses the labels that came out against the odds. Known value: 1/2 when all rewards are equal.
    """
    p = preference_probability(reward_chosen, reward_rejected)
    return torch.maximum(p, 1 - p).mean().item()
