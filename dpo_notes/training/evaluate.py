"""Metrics of a policy's own responses: their KL from the reference, their length, and a judge's verdict."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.generate import sample_ids
from dpo_notes.language.load import context_length
from dpo_notes.language.score import response_logits
from dpo_notes.maths.logps import picked_logps
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.maths.policy_gradient import kl_k1, kl_k2, kl_k3
from dpo_notes.pairs.batches import collate
from dpo_notes.pairs.encode import encode_prompts
from dpo_notes.pairs.tokenizing import texts_of
from dpo_notes.training.device import rounded_products

ROWS_PER_FORWARD = 8
# judge(prompts, responses): named values for each response, such as `reviews.judge`.
Judge = Callable[[Sequence[str], Sequence[str]], Mapping[str, Float[Tensor, " batch"]]]
KL_SAMPLERS = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


@dataclass(frozen=True)
class Responses:
    """One response to each prompt: as tokens, with end of text unless it was cut, and as text without it."""

    prompts: Sequence[str]
    texts: Sequence[str]
    prompt_ids: Sequence[tuple[int, ...]]
    response_ids: Sequence[Sequence[int]]

    @property
    def lengths(self) -> Float[Tensor, " batch"]:
        """Tokens of each response, end of text included."""
        return torch.tensor([len(ids) for ids in self.response_ids], dtype=torch.float64)


def respond(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
) -> Responses:
    """One response to each prompt, sampled from the policy at temperature 1, without top-k or top-p.

    Responses end after `max_new_tokens`, or earlier if the context is shorter.
    """
    max_new_tokens = min(max_new_tokens, context_length(policy) - 1)
    prompt_ids = encode_prompts(tokenizer, prompts, max_length=context_length(policy) - max_new_tokens)
    eos_id = tokenizer.eos_token_id
    with rounded_products():  # samples need not be exact; what is computed from them is
        response_ids = sample_ids(policy, prompt_ids, eos_id=eos_id, generator=generator, max_new_tokens=max_new_tokens)
    texts = texts_of(tokenizer, response_ids)
    return Responses(prompts, texts, prompt_ids, response_ids)


def on_policy_metrics(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
    judge: Judge | None = None,
) -> dict[str, float]:
    """Metrics of one response to each prompt, sampled from the policy at temperature 1, without top-k or top-p.

    With a reference, kl: KL(policy || reference) in nats per response; kl_error: its standard error (0 if there is only
    one prompt). Always, length: tokens per response, end of text included. With a judge, the mean of each of its
    values, such as the raters' reward in the review world.
    Responses end at `max_new_tokens`, so the KL is that of their first `max_new_tokens` tokens.
    Known value: kl is 0 when the policy is the reference.
    """
    responses = respond(policy, tokenizer, prompts, max_new_tokens=max_new_tokens, generator=generator)
    metrics = {"length": responses.lengths.mean().item()}
    if reference is not None:
        metrics["kl"], metrics["kl_error"] = mean_and_error(
            response_kl(policy, reference, responses.prompt_ids, responses.response_ids)
        )
    judged = {} if judge is None else judge(prompts, responses.texts)
    return metrics | {name: values.mean().item() for name, values in judged.items()}


def mean_and_error(values: Float[Tensor, " batch"]) -> tuple[float, float]:
    """(mean, standard error of the mean) of independent values, in their unit.

    error = standard deviation (divisor batch - 1) / sqrt(batch); 0 for a single value, which has no estimate.
    Known value: 1, 2, 3, 4 have mean 2.5 and error 0.6455.
    """
    return values.mean().item(), values.std().item() / len(values) ** 0.5 if len(values) > 1 else 0.0


@torch.no_grad()
def response_kl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompt_ids: Sequence[tuple[int, ...]],
    response_ids: Sequence[Sequence[int]],
) -> Float[Tensor, " batch"]:
    """For each sampled response y, the sum over tokens t of KL(policy(. | x, y_<t) || reference(. | x, y_<t)), in nats.

    Its mean over responses sampled from the policy is KL(policy || reference) (the chain rule of KL). Each term is
    exact over the whole vocabulary, not log pi - log pi_ref of the token drawn: the same mean, usually less noise.
    """
    scored = _score(policy, reference, prompt_ids, response_ids)
    return torch.cat([_sum_by_row(kl_divergence(*log_probs), row) for log_probs, _, row in scored])


@torch.no_grad()
def kl_estimates(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompt_ids: Sequence[tuple[int, ...]],
    response_ids: Sequence[Sequence[int]],
) -> dict[str, tuple[float, float]]:
    """KL(policy || reference) in nats per response by four estimators on the same samples: (mean, standard error).

    "exact": `response_kl`. "k1", "k2", "k3": as in `maths.policy_gradient`, for each token drawn, summed over the
    response. k1 and k3 have the same mean as the exact one and usually more noise; k2 has another mean.

    prompt_ids, response_ids: two or more responses, sampled from the policy at temperature 1 without top-k or top-p.
    Known value: all 0 when the policy is the reference.
    """
    parts: dict[str, list[Tensor]] = {name: [] for name in ("exact", *KL_SAMPLERS)}
    for log_probs, tokens, row in _score(policy, reference, prompt_ids, response_ids):
        parts["exact"].append(_sum_by_row(kl_divergence(*log_probs), row))
        logps = [picked_logps(side, tokens) for side in log_probs]
        for name, estimator in KL_SAMPLERS.items():
            parts[name].append(_sum_by_row(estimator(*logps), row))
    return {name: mean_and_error(torch.cat(values)) for name, values in parts.items()}


Scored = tuple[list[Float[Tensor, "tokens vocab"]], Int[Tensor, " tokens"], Int[Tensor, " tokens"]]


def _score(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    prompt_ids: Sequence[tuple[int, ...]],
    response_ids: Sequence[Sequence[int]],
) -> Iterator[Scored]:
    """Batch by batch: ([policy, reference] log-probabilities of every token, the tokens drawn, their rows)."""
    for start in range(0, len(prompt_ids), ROWS_PER_FORWARD):
        prompts, responses = (ids[start : start + ROWS_PER_FORWARD] for ids in (prompt_ids, response_ids))
        batch = collate(prompts, responses).to(policy.device)
        log_probs = [response_logits(model, batch).float().log_softmax(-1) for model in (policy, reference)]
        row = batch.response_index // batch.input_ids.shape[1]
        yield log_probs, batch.input_ids.flatten()[batch.response_index], row


def _sum_by_row(per_token: Float[Tensor, " tokens"], row: Int[Tensor, " tokens"]) -> Float[Tensor, " batch"]:
    """The sum over each response; none is empty."""
    return per_token.new_zeros(int(row.max()) + 1).index_add(0, row, per_token)
