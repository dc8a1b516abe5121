"""REINFORCE with a KL penalty: one policy-gradient step on every batch of the policy's own responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.score import response_token_logps
from dpo_notes.maths.baselines import leave_one_out
from dpo_notes.maths.policy_gradient import kl_k1, reinforce_loss
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.batches import Batch
from dpo_notes.training.config import check_rounds_settings
from dpo_notes.training.evaluate import Judge
from dpo_notes.training.rollout import RewardFunction, Rollout, rollout_metrics
from dpo_notes.training.rounds import train_rounds
from dpo_notes.training.step import OptimizerStep
from dpo_notes.training.training import Training


@dataclass(frozen=True)
class ReinforceConfig:
    """Settings of a REINFORCE run. Raises InputError for values out of range."""

    beta: float = 0.1  # price of a nat of KL, in reward; the beta of DPO. 0: only the reward counts
    learning_rate: float = 1e-5  # at its peak; as for DPO
    steps: int = 200  # batches of responses, each used for one optimizer step
    batch_size: int = 64  # responses per step, at least 2; the noise of a step falls with its square root
    rows_per_forward: int = 16  # responses scored at once; affects only memory and speed
    warmup_fraction: float = 0.1  # of all steps; the learning rate rises, then falls linearly to 0
    max_grad_norm: float = 1.0  # L2 norm to which the gradient is clipped
    max_new_tokens: int = 64  # tokens after which a response is cut
    eval_every: int = 0  # steps between evaluations; 0: only before the first and after the last
    eval_samples: int = 64  # prompts answered at an evaluation; 0: none
    checkpoint_every: int = 20  # steps between checkpoints, where there is a folder for them
    seed: int = 0  # of the order of prompts, and of all samples

    def __post_init__(self):
        check_rounds_settings(self, least={"batch_size": 2})


def train_reinforce(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    reward_fn: RewardFunction,
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    config: ReinforceConfig,
    *,
    eval_prompts: Sequence[str] | None = None,
    judge: Judge | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> Training:
    """Train `policy` in place on the rewards of its own responses; yields one row of metrics per optimizer step.

    Maximises J = E[r(x, y)] - beta KL(policy || reference), whose optimum DPO aims at with the same beta, by

    grad J = E[(R - b) grad log pi(y | x)],    R = r(x, y) - beta log(pi(y | x) / pi_ref(y | x))

    (Williams 1992; Ziegler et al. 2019, Eq. 2). The whole response is one action. b is the mean R of the other
    responses of the batch (`leave_one_out`). It does not depend on y, so the gradient is unbiased at any batch size.
    Ahmadian et al. (2024) take b over several responses to one prompt. Here each response answers a different prompt,
    because rewards differ much more between the responses to a prompt than between prompts.

    `reward_fn(prompts, responses) -> (batch,)`, such as `reviews.reward`, gets texts. If a response was cut at
    `max_new_tokens`, it gets the text so far.
    Rows hold "step", "epoch", "loss", "objective" (J), "reward", "kl", "entropy", "length", "unfinished" (all of that
    step's responses, before its update: see `rollout_metrics`), "grad_norm", "learning_rate" and
    "responses_per_second"; with `eval_prompts`, some rows also hold "eval/…", see `on_policy_metrics`.
    `output_dir`, `resume` and errors are those of `train_dpo`, in one process. The value of "loss" means nothing, only
    its gradient does. Known value: kl 0 and objective equal to reward at step 1, when policy equals reference.
    """
    places = {"eval_prompts": eval_prompts, "judge": judge, "output_dir": output_dir, "resume": resume}
    learner = partial(Reinforce, policy, config)
    return train_rounds(learner, policy, reference, reward_fn, prompts, tokenizer, config, **places)


class Reinforce:
    """The learner of `train_reinforce`."""

    def __init__(self, policy: PreTrainedModel, config: ReinforceConfig, accelerator: Accelerator):
        self.config = config
        self.take_step = OptimizerStep(
            policy,
            accelerator,
            learning_rate=config.learning_rate,
            total_steps=config.steps,
            warmup_steps=round(config.warmup_fraction * config.steps),
            weight_decay=0.0,  # the reference already holds the policy in place
            max_grad_norm=config.max_grad_norm,
        )

    def learn(
        self, number: int, rollout: Rollout, ref_logps: Float[Tensor, "batch time"], generator: torch.Generator
    ) -> Row:
        """Take optimizer step `number` on the rollout; its metrics."""
        config = self.config
        (logps,) = rollout.per_token(lambda batch: (self.logps(batch),), size=config.rows_per_forward)
        kl = kl_k1(logps, ref_logps)
        returns = rollout.rewards - config.beta * kl.sum(dim=1)
        advantages = returns - leave_one_out(returns)

        def share(rows: list[int]) -> dict[str, Tensor]:
            loss = reinforce_loss(self.logps(rollout.batch(rows)).sum(dim=1), advantages[rows])
            return {"loss": loss.sum() / len(rollout)}

        parts = rollout.microbatches(range(len(rollout)), config.rows_per_forward)
        return self.take_step(number, parts, share) | rollout_metrics(rollout, logps, kl, beta=config.beta)

    def logps(self, batch: Batch) -> Float[Tensor, "rows time"]:
        """The policy's log-probability of each response token, in nats."""
        return response_token_logps(self.take_step.model, batch)
