"""Rollouts: what the policy says to some prompts, and what that is worth. The data of one policy-gradient step."""

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

    Per-token tensors of a rollout are [batch time], indexed like the input_ids of all its rows collated, and 0 outside
    the responses.
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
        """These rows (all, where none are named), padded to the longest of them, on the policy's device."""
        rows = range(len(self)) if rows is None else rows
        batch = collate([self.prompt_ids[row] for row in rows], [self.response_ids[row] for row in rows])
        return batch.to(self.rewards.device)

    def microbatches(self, rows: Sequence[int], size: int) -> list[list[int]]:
        """These rows in parts of at most `size`, like lengths together: little padding."""
        lengths = self.lengths
        return [[rows[i] for i in part] for part in in_order_of_length([lengths[row] for row in rows], size)]

    @torch.no_grad()
    def per_token(self, function: Callable[[Batch], tuple[Tensor, ...]], *, size: int) -> tuple[Tensor, ...]:
        """function(batch), tensors of [rows time …], for all rows: [batch time …].

        Computed for at most `size` rows at a time, those of like length together, and without gradient.
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
    """One response to each prompt, from the policy at temperature 1 with nothing cut away, and its reward.

    `prompt_ids` are the prompts as `encode_prompts` gives them. A response still unfinished after `max_new_tokens` is
    cut there and gets no end of text; its reward is that of the text as far as it goes, nothing added, nothing taken.
    Raises InputError where `reward_fn(prompts, responses)` is not one finite number for each response.
    """
    eos_id = tokenizer.eos_token_id
    response_ids = sample_ids(policy, prompt_ids, eos_id=eos_id, generator=generator, max_new_tokens=max_new_tokens)
    responses = texts_of(tokenizer, response_ids)
    rewards = rewards_of(reward_fn, prompts, responses).to(policy.device)
    finished = torch.tensor([ids[-1] == eos_id for ids in response_ids], device=policy.device)
    return Rollout(prompt_ids, response_ids, rewards, finished)


@torch.no_grad()
def rewards_of(reward_fn: RewardFunction, prompts: Sequence[str], responses: Sequence[str]) -> Float[Tensor, " batch"]:
    """reward_fn(prompts, responses), checked: InputError where it is not one finite number for each response."""
    rewards = torch.as_tensor(reward_fn(prompts, responses), dtype=torch.float32).detach()
    if rewards.shape != (len(responses),):
        raise InputError(
            f"the reward function gave shape {tuple(rewards.shape)}; "
            f"expected ({len(responses)},), one number a response"
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
    """Means over a rollout's responses, all estimates of what the policy that drew them does.

    reward; kl: the sum of k1 over a response, in nats, which may come out below 0; objective: reward - beta kl.
    entropy: of the next token, in nats, by -log pi of each token drawn. length: tokens a response with end of text.
    unfinished: share of responses that were cut before they ended.

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
    """Which of `count` prompts step number `step` (from 1) answers: all of them come once before any comes again.

    Each time through them has an order of its own, fixed by the seed, so that any step can be begun with.
    """
    places = range((step - 1) * batch_size, step * batch_size)
    epochs = {place // count for place in places}
    orders = {epoch: torch.randperm(count, generator=stream(seed, "order", epoch)).tolist() for epoch in epochs}
    return [orders[place // count][place % count] for place in places]


def stream(seed: int, purpose: str, number: int) -> torch.Generator:
    """A generator of its own for every purpose and number (of a step, an epoch): so a run can go on from anywhere."""
    digest = hashlib.sha256(f"{seed} {purpose} {number}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
