"""Best-of-n and the optimum, two policies without training, from a pool of the reference's own answers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.maths.best_of_n import best_of_n_policy, best_of_n_weights
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.importance import effective_sample_size, optimal_weights
from dpo_notes.maths.optimum import kl_divergence
from dpo_notes.training.evaluate import Responses, respond
from dpo_notes.worlds.reviews import world as reviews

LEAST_EFFECTIVE_SAMPLES = 10.0  # of a pool, on average over prompts; with fewer, we give no estimate of the optimum


@dataclass(frozen=True)
class Pool:
    """Many independent answers of the reference to each prompt; all tensors [prompts samples]."""

    responses: Responses  # all answers to the first prompt, then to the second, and so on
    rewards: Float[Tensor, "prompts samples"]  # true, in nats
    grammatical: Float[Tensor, "prompts samples"]  # 1 or 0
    lengths: Float[Tensor, "prompts samples"]  # tokens, end of text included

    def text(self, prompt: int, sample: int) -> str:
        """The text of one answer."""
        return self.responses.texts[prompt * self.rewards.shape[1] + sample]


@dataclass(frozen=True)
class BestOfN:
    """The policy best-of-n over the answers to each prompt of a pool."""

    weights: Float[Tensor, "prompts samples"]  # unbiased for means: see `best_of_n_weights`
    kl: Float[Tensor, " prompts"]  # KL(best-of-n || reference), nats, with the uniform pool as the reference

    def mean(self, values: Float[Tensor, "prompts samples"]) -> Float[Tensor, " prompts"]:
        """The expectation of the answers' `values`, for each prompt."""
        return (self.weights * values).sum(dim=-1)

    def draw(self, prompt: int, *, count: int, generator: torch.Generator) -> Int[Tensor, " count"]:
        """The numbers of `count` answers to a prompt, drawn independently."""
        return torch.multinomial(self.weights[prompt], count, replacement=True, generator=generator)


def draw_pool(
    reference: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    samples: int,
    max_new_tokens: int,
    generator: torch.Generator,
) -> Pool:
    """`samples` answers of the reference to each prompt of the review world, at temperature 1, and their true rewards.

    Raises InputError for less than one sample.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; expected at least 1")
    repeated = [prompt for prompt in prompts for _ in range(samples)]
    responses = respond(reference, tokenizer, repeated, max_new_tokens=max_new_tokens, generator=generator)
    judged = reviews.judge(responses.prompts, responses.texts)
    values = (judged["reward"], judged["grammatical"], responses.lengths)
    return Pool(responses, *(value.view(len(prompts), samples) for value in values))


def best_of_n(scores: Float[Tensor, "prompts samples"], *, n: int) -> BestOfN:
    """Best-of-n by these scores of the pool's answers: the true rewards, or a reward model's.

    n: draws, from 1 to the number of samples; the KL is a good estimate only for far fewer.
    """
    uniform = torch.full_like(scores, -math.log(scores.shape[1]))
    return BestOfN(best_of_n_weights(scores, n=n), kl_divergence(best_of_n_policy(scores, uniform, n=n), uniform))


def optimum(rewards: Float[Tensor, "prompts samples"], *, beta: float) -> dict[str, float] | None:
    """The optimal policy at beta, by importance sampling: no method gets more reward at the same KL.

    reward: E_pi*[r] (nats); kl: KL(pi* || reference) (nats); effective_samples: per prompt. All are means over prompts.
    None with fewer than `LEAST_EFFECTIVE_SAMPLES` effective samples: then the size of the pool, not the optimum, would
    determine both figures.
    Known value: as beta grows, the mean reward of the reference, and a KL of 0.
    """
    weights = optimal_weights(rewards, beta=beta)
    effective = effective_sample_size(weights).mean().item()
    if effective < LEAST_EFFECTIVE_SAMPLES:
        return None
    return {
        "reward": (weights.exp() * rewards).sum(dim=-1).mean().item(),
        "kl": kl_divergence(weights, torch.full_like(rewards, -math.log(rewards.shape[1]))).mean().item(),
        "effective_samples": effective,
    }
