"""Rollouts: the policy's responses to some prompts and their rewards, the data of one policy-gradient step."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.generate import sample_ids
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.batches import Batch, collate, in_order_of_length
from dpo_notes.pairs.tokenizing import texts_of

RewardFunction = Callable[[Sequence[str], Sequence[str]], Tensor]


@dataclass(frozen=True)
class Rollout:
    """B responses, one to each prompt, and their rewards.

    Per-token tensors of a rollout are [batch time], indexed like the input_ids of all its rows in one batch, and 0
    outside the responses.
    """

    prompt_ids: Sequence[tuple[int, ...]]
    response_ids: Sequence[Sequence[int]]  # each ends in end of text, unless it was cut
    rewards: Float[Tensor, " batch"]  # on the policy's device
    finished: Bool[Tensor, " batch"]  # False where a response was cut

    def __len__(self) -> int:
        return len(self.response_ids)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each prompt with its response."""
        return [
            len(prompt) + len(response) for prompt, response in zip(self.prompt_ids, self.response_ids, strict=True)
        ]

    def batch(self, rows: Sequence[int] | None = None) -> Batch:
        """These rows (by default all), padded to the longest of them, on the policy's device."""
        rows = range(len(self)) if rows is None else rows
        batch = collate([self.prompt_ids[row] for row in rows], [self.response_ids[row] for row in rows])
        return batch.to(self.rewards.device)

    def microbatches(self, rows: Sequence[int], size: int) -> list[list[int]]:
        """These rows in parts of at most `size`, sorted by length for little padding."""
        lengths = self.lengths
        return [[rows[i] for i in part] for part in in_order_of_length([lengths[row] for row in rows], size)]

    @torch.no_grad()
    def per_token(self, function: Callable[[Batch], tuple[Tensor, ...]], *, size: int) -> tuple[Tensor, ...]:
        """The tensors of function(batch), each [rows time …], for all rows: [batch time …].

        Computed for at most `size` rows of similar length at a time, without gradient.
        """
        wholes: tuple[Tensor, ...] = ()
        for part in self.microbatches(range(len(self)), size):
            tensors = function(self.batch(part))
            if not wholes:
                wholes = tuple(tensor.new_zeros(len(self), max(self.lengths), *tensor.shape[2:]) for tensor in tensors)
            for whole, tensor in zip(wholes, tensors, strict=True):
                whole[part, : tensor.shape[1]] = tensor
        return wholes


def roll_out(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    reward_fn: RewardFunction,
    prompts: Sequence[str],
    prompt_ids: Sequence[tuple[int, ...]],
    *,
    max_new_tokens: int,
    generator: torch.Generator,
) -> Rollout:
    """One response to each prompt, from the policy at temperature 1 without top-k or top-p, and its reward.

    `prompt_ids` are the prompts as `encode_prompts` returns them. A response still unfinished after `max_new_tokens` is
    cut there and gets no end of text; its reward is that of the text so far, without bonus or penalty.
    Raises InputError if `reward_fn(prompts, responses)` is not one finite number per response.
    """
    eos_id = tokenizer.eos_token_id
    response_ids = sample_ids(policy, prompt_ids, eos_id=eos_id, generator=generator, max_new_tokens=max_new_tokens)
    responses = texts_of(tokenizer, response_ids)
    rewards = rewards_of(reward_fn, prompts, responses).to(policy.device)
    finished = torch.tensor([ids[-1] == eos_id for ids in response_ids], device=policy.device)
    return Rollout(prompt_ids, response_ids, rewards, finished)


@torch.no_grad()
def rewards_of(reward_fn: RewardFunction, prompts: Sequence[str], responses: Sequence[str]) -> Float[Tensor, " batch"]:
    """reward_fn(prompts, responses), checked: InputError unless it is one finite number per response."""
    rewards = torch.as_tensor(reward_fn(prompts, responses), dtype=torch.float32).detach()
    if rewards.shape != (len(responses),):
        raise InputError(
            f"the reward function returned shape {tuple(rewards.shape)}; "
            f"expected ({len(responses)},), one number per response"
        )
    wrong = (~rewards.isfinite()).nonzero()
    if len(wrong):
        row = wrong[0].item()
        raise InputError(
            f"the reward of {responses[row]!r:.80} to {prompts[row]!r:.80} is {rewards[row]}; expected a finite number"
        )
    return rewards


def rollout_metrics(
    rollout: Rollout, logps: Float[Tensor, "batch time"], kl: Float[Tensor, "batch time"], *, beta: float
) -> dict[str, float]:
    """Means over a rollout's responses, estimates for the policy that drew them.

    reward; kl: the sum of k1 over a response, in nats, which can be below 0; objective: reward - beta kl.
    entropy: of the next token, in nats, the mean of -log pi of each token drawn. length: tokens per response, with end
    of text. unfinished: share of responses that were cut before they ended.

    logps, kl: of each token, under that policy; 0 outside the responses.
    """
    lengths = torch.tensor([float(len(ids)) for ids in rollout.response_ids], device=kl.device)
    means = {
        "reward": rollout.rewards.mean(),
        "kl": kl.sum(dim=1).mean(),
        "entropy": -logps.sum() / lengths.sum(),
        "length": lengths.mean(),
        "unfinished": (~rollout.finished).float().mean(),
    }
    values = dict(zip(means, torch.stack(list(means.values())).tolist(), strict=True))
    return {"objective": values["reward"] - beta * values["kl"]} | values


def prompt_numbers(count: int, *, batch_size: int, seed: int, step: int) -> list[int]:
    """Which of `count` prompts step number `step` (from 1) answers: each comes once before any comes again.

    The seed fixes the order of each pass, so a run can start from any step.
    """
    places = range((step - 1) * batch_size, step * batch_size)
    epochs = {place // count for place in places}
    orders = {epoch: torch.randperm(count, generator=stream(seed, "order", epoch)).tolist() for epoch in epochs}
    return [orders[place // count][place % count] for place in places]


def stream(seed: int, purpose: str, number: int) -> torch.Generator:
    """A separate generator for every purpose and number (of a step, an epoch), so that a run can resume anywhere."""
    digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
