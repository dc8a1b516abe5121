"""Proximal policy optimisation with a KL penalty: clipped steps on each batch of the policy's own responses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.maths.checks import check_positive
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.policy_gradient import gae, kl_k1, masked_mean, ppo_clip_loss, whiten
from dpo_notes.maths.rows import Row
from dpo_notes.training.config import check_rounds_settings
from dpo_notes.training.evaluate import Judge
from dpo_notes.training.rollout import RewardFunction, Rollout, rollout_metrics
from dpo_notes.training.rounds import train_rounds
from dpo_notes.training.step import OptimizerStep, TrainingDiverged
from dpo_notes.training.training import Training
from dpo_notes.training.value import PolicyWithValue

# The value function starts from zero and is cheap to train: a higher learning rate than the policy's, and more epochs.
VALUE_SPEED, VALUE_EPOCHS, VALUE_MINIBATCHES = 5.0, 4, 4
DISCOUNT = 1.0  # J has no discount


@dataclass(frozen=True)
class PPOConfig:
    """Settings of a PPO run. Raises InputError for values out of range."""

    beta: float = 0.1  # price of a nat of KL, in reward; the beta of DPO. 0: only the reward counts
    learning_rate: float = 1e-5  # at its peak; as for DPO
    steps: int = 200  # rounds: batches of responses
    batch_size: int = 64  # responses per round; the noise of a round falls with its square root
    epochs: int = 2  # passes over a round's responses before new ones are drawn
    minibatch_size: int = 64  # responses per optimizer step, at most batch_size
    clip: float = 0.2  # how far a token's probability ratio may profitably move, without unit; the PPO paper's value
    lam: float = 1.0  # of GAE, 0 to 1; below 1 a wrong value function would bias the gradient
    rows_per_forward: int = 16  # responses scored at once; affects only memory and speed
    warmup_fraction: float = 0.1  # of all steps; the learning rate rises, then falls linearly to 0
    max_grad_norm: float = 1.0  # L2 norm to which the gradient is clipped
    max_new_tokens: int = 64  # tokens after which a response is cut
    eval_every: int = 0  # rounds between evaluations; 0: only before the first and after the last
    eval_samples: int = 64  # prompts answered at an evaluation; 0: none
    checkpoint_every: int = 20  # rounds between checkpoints, where there is a folder for them
    seed: int = 0  # of the order of prompts, of all samples, and of the value function's first weights

    def __post_init__(self):
        check_rounds_settings(self, least={"minibatch_size": 1})
        check_positive("clip", self.clip)
        if not 0 <= self.lam <= 1:
            raise InputError(f"lam is {self.lam!r}; expected a number from 0 to 1")
        if self.minibatch_size > self.batch_size:
            raise InputError(f"minibatch_size is {self.minibatch_size}; expected at most batch_size, {self.batch_size}")

    @property
    def updates_per_step(self) -> int:
        """Optimizer steps per round."""
        return self.epochs * -(-self.batch_size // self.minibatch_size)


def train_ppo(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    reward_fn: RewardFunction,
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    config: PPOConfig,
    *,
    eval_prompts: Sequence[str] | None = None,
    judge: Judge | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> Training:
    """Train `policy` in place on the rewards of its own responses; yields one row of metrics per round.

    Maximises J = E[r(x, y)] - beta KL(policy || reference), whose optimum DPO aims at with the same beta. Each token is
    an action, which earns -beta log(pi(y_t | s_t) / pi_ref(y_t | s_t)), and the last one also r(x, y) (Ziegler et al.
    2019, Eq. 2; Ouyang et al. 2022): the sum over a response is its term of J. A round is `PPO.learn`.

    `reward_fn(prompts, responses) -> (batch,)`, such as `reviews.reward`, gets texts. If a response was cut at
    `max_new_tokens`, it gets the text so far.
    Rows hold "step" (round), "epoch"; as means over the round's optimizer steps "loss" (of the policy), "value_loss"
    (reward squared), "clip_fraction" (tokens with a ratio beyond the clip), "grad_norm" and "learning_rate";
    "explained" (share of the variance of returns that the values predicted); as in `train_reinforce` "objective"
    (J), "reward", "kl", "entropy", "length", "unfinished", "responses_per_second", and at evaluations "eval/…".
    `output_dir`, `resume` and errors are those of `train_dpo`, in one process. model/ is the policy; the value function
    stays in checkpoint/. Known value: kl 0 and objective equal to reward at step 1, when policy equals reference.
    """
    places = {"eval_prompts": eval_prompts, "judge": judge, "output_dir": output_dir, "resume": resume}
    learner = partial(PPO, policy, config)
    return train_rounds(learner, policy, reference, reward_fn, prompts, tokenizer, config, **places)


@dataclass(frozen=True)
class Experience:
    """What the policy learns from: a rollout with tensors per token, without gradient, 0 outside the responses."""

    rollout: Rollout
    logps: Float[Tensor, "batch time"]  # of the policy that drew the responses, in nats
    advantages: Float[Tensor, "batch time"]


class PPO:
    """The learner of `train_ppo`."""

    def __init__(self, policy: PreTrainedModel, config: PPOConfig, accelerator: Accelerator):
        self.config = config
        total_steps = config.steps * config.updates_per_step
        self.take_step = OptimizerStep(
            PolicyWithValue(policy, seed=config.seed),
            accelerator,
            learning_rate=config.learning_rate,
            total_steps=total_steps,
            warmup_steps=round(config.warmup_fraction * total_steps),
            weight_decay=0.0,  # the reference already holds the policy in place
            max_grad_norm=config.max_grad_norm,
            speeds={"value.": VALUE_SPEED},
        )

    def learn(
        self, number: int, rollout: Rollout, ref_logps: Float[Tensor, "batch time"], generator: torch.Generator
    ) -> Row:
        """Learn from round `number`; returns its metrics."""
        config, model = self.config, self.take_step.model
        mask = rollout.batch().response_mask
        logps, states = rollout.per_token(model, size=config.rows_per_forward)
        kl = kl_k1(logps, ref_logps)
        with torch.no_grad():
            values = model.values(states)
        rewards = token_rewards(rollout.rewards, kl, mask, beta=config.beta)
        advantages = gae(rewards, values, mask, discount=DISCOUNT, lam=config.lam)
        targets = advantages + values  # with lam 1: the return from each token on
        experience = Experience(rollout, logps, whiten(advantages, mask))
        try:
            row = self.improve_policy(number, experience, generator)
            row["value_loss"] = self.fit_values(number, states[mask], targets[mask], generator)
        except TrainingDiverged as error:
            raise TrainingDiverged(f"round {number}, optimizer {error}") from error
        row["explained"] = explained(values, targets, mask)
        return row | rollout_metrics(rollout, logps, kl, beta=config.beta)

    def improve_policy(self, number: int, experience: Experience, generator: torch.Generator) -> Row:
        """Go through the responses `epochs` times, one optimizer step per minibatch; returns the mean metrics."""
        config, rows = self.config, []
        for minibatch in _parts(len(experience.rollout), config.minibatch_size, config.epochs, generator):
            update = (number - 1) * config.updates_per_step + len(rows) + 1
            parts = experience.rollout.microbatches(minibatch, config.rows_per_forward)
            rows.append(self.take_step(update, parts, partial(self.share, experience, len(minibatch))))
        return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}

    def share(self, experience: Experience, responses: int, part: list[int]) -> dict[str, Tensor]:
        """What `part` of a minibatch with this number of responses adds to its metrics, as OptimizerStep takes it."""
        batch = experience.rollout.batch(part)
        wide = (experience.logps, experience.advantages)
        old_logps, advantages = (tensor[part, : batch.input_ids.shape[1]] for tensor in wide)
        logps, _ = self.take_step.model(batch)
        losses = ppo_clip_loss(logps, old_logps, advantages, clip=self.config.clip)
        clipped = (torch.exp(logps.detach() - old_logps) - 1).abs() > self.config.clip
        # Summed over a response's tokens, as J is. Outside the responses everything is 0.
        return {
            "loss": losses.sum() / responses,
            "clip_fraction": (clipped.sum(1) / batch.response_mask.sum(1)).sum() / responses,
        }

    def fit_values(
        self,
        number: int,
        states: Float[Tensor, "tokens features"],
        targets: Float[Tensor, " tokens"],
        generator: torch.Generator,
    ) -> float:
        """Fit the value function to the targets by least squares, VALUE_EPOCHS times; returns the mean loss.

        Call it after the policy's steps: no advantage may use a value that was fitted to its own outcome.
        """

        def share(tokens: list[int]) -> dict[str, Tensor]:
            return {"loss": (self.take_step.model.values(states[tokens]) - targets[tokens]).square().mean() / 2}

        update, size = number * self.config.updates_per_step, -(-len(targets) // VALUE_MINIBATCHES)
        parts = _parts(len(targets), size, VALUE_EPOCHS, generator)
        losses = [self.take_step(update, [tokens], share)["loss"] for tokens in parts]
        return sum(losses) / len(losses)


def _parts(count: int, size: int, epochs: int, generator: torch.Generator) -> Iterator[list[int]]:
    """All numbers below `count`, shuffled anew for each epoch, in parts of `size` (the last may be smaller)."""
    for _ in range(epochs):
        order = torch.randperm(count, generator=generator, device=generator.device)
        yield from (part.tolist() for part in order.split(size))


def token_rewards(
    rewards: Float[Tensor, " batch"], kl: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], *, beta: float
) -> Float[Tensor, "batch time"]:
    """Reward of each token: -beta k1, plus the response's reward at its last token; 0 outside the responses.

    The sum over a response is its term of J: r(x, y) - beta log(pi(y | x) / pi_ref(y | x)).

    rewards: of the responses. kl: k1 of each token, in nats. mask: True at the responses' tokens. beta: at least 0.
    Known value: reward 1, beta 0.5 and k1 0.2, 0.4 give -0.1, 0.8.
    """
    last = mask & ~torch.nn.functional.pad(mask[:, 1:], (0, 1))
    return torch.where(mask, torch.where(last, rewards[:, None], 0.0) - beta * kl, 0.0)


def explained(
    values: Float[Tensor, "batch time"], targets: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> float:
    """Share of the targets' variance that the values predict: 1 - mean squared error / variance; at most 1.

    Known value: 0 for values that are the mean of all targets; below 0 for worse ones.
    """
    spread = masked_mean((targets - masked_mean(targets, mask)).square(), mask)
    return (1 - masked_mean((targets - values).square(), mask) / (spread + 1e-8)).item()
