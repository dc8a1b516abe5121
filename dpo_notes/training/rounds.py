"""The training loop of REINFORCE and PPO: each round samples responses, rewards them and learns from them."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.language.score import response_token_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.encode import encode_prompts
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.device import new_accelerator
from dpo_notes.training.evaluate import Judge, on_policy_metrics
from dpo_notes.training.identity import data_digest, function_name, run_identity, shapes_digest, weights_digest
from dpo_notes.training.rollout import RewardFunction, Rollout, prompt_numbers, roll_out, stream
from dpo_notes.training.step import OptimizerStep
from dpo_notes.training.training import Training


class Learner(Protocol):
    """An algorithm that learns from a rollout: REINFORCE or PPO."""

    take_step: OptimizerStep

    def learn(
        self, number: int, rollout: Rollout, ref_logps: Float[Tensor, "batch time"], generator: torch.Generator
    ) -> Row:
        """Learn from round `number` (from 1), and return its metrics."""


def train_rounds(
    new_learner: Callable[[Accelerator], Learner],
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    reward_fn: RewardFunction,
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    config,
    *,
    eval_prompts: Sequence[str] | None,
    judge: Judge | None,
    output_dir: str | Path | None,
    resume: bool,
) -> Training:
    """Train `policy` in place for `config.steps` rounds; yields one row per round, with `eval_prompts` also at step 0.

    A round answers the next `config.batch_size` prompts, rewards the answers with `reward_fn(prompts, responses)`, and
    passes them to the learner. All randomness of round n comes from generators seeded by (config.seed, n).
    Rows hold "step", "epoch" (passes through the prompts so far), the learner's metrics, and "responses_per_second".
    Everything else is as in `train_dpo`: evaluations, folder, resume.
    One process only; float32 throughout, because exactly the policy that samples a response must score it.
    Raises InputError for bad arguments, before the first row; TrainingDiverged when the loss is not finite.
    """
    if isinstance(prompts, str) or not prompts:
        raise InputError(f"prompts is {prompts!r:.80}; expected a list of texts, at least one")
    if reference is policy:
        raise InputError("the reference is the policy itself, and would change with it; expected a frozen_copy of it")
    accelerator = new_accelerator()
    if accelerator.num_processes > 1:
        raise InputError(f"{accelerator.num_processes} processes; expected one: we do not split rollouts")
    max_new_tokens = min(config.max_new_tokens, context_length(policy) - 1)
    prompt_ids = encode_prompts(tokenizer, prompts, max_length=context_length(policy) - max_new_tokens)
    eval_prompts = list(eval_prompts or [])[: config.eval_samples]
    identity = {}
    if output_dir is not None:
        identity = run_identity(
            config,
            prompts=data_digest(prompt_ids),
            eval_prompts=data_digest(eval_prompts),
            policy=shapes_digest(policy),
            reference=weights_digest(reference),
            reward=function_name(reward_fn),
        )
    folder = RunFolder(output_dir, accelerator, identity=identity, resume=resume)

    def evaluate() -> Row:
        generator = torch.Generator().manual_seed(config.seed)  # the same at every evaluation: less noise
        settings = {"max_new_tokens": max_new_tokens, "generator": generator, "judge": judge}
        metrics = on_policy_metrics(policy, reference, tokenizer, eval_prompts, **settings)
        return {f"eval/{name}": value for name, value in metrics.items()}

    def loop() -> Iterator[Row]:
        policy.eval()  # evaluation mode turns dropout off; gradients flow as in training mode
        reference.to(accelerator.device).eval()
        learner = new_learner(accelerator)
        model, optimizer = learner.take_step.model, learner.take_step.optimizer.optimizer
        done = folder.restore(model, optimizer, last_step=config.steps)
        if done is None:
            done = 0
            if eval_prompts:
                yield folder.write_row({"step": 0, "epoch": 0.0} | evaluate())
        for step in range(done + 1, config.steps + 1):
            started = time.perf_counter()
            numbers = prompt_numbers(len(prompts), batch_size=config.batch_size, seed=config.seed, step=step)
            generator = stream(config.seed, "rollout", step)
            rollout = roll_out(
                policy,
                tokenizer,
                reward_fn,
                [prompts[number] for number in numbers],
                [prompt_ids[number] for number in numbers],
                max_new_tokens=max_new_tokens,
                generator=generator,
            )
            (ref_logps,) = rollout.per_token(
                lambda batch: (response_token_logps(reference, batch),), size=config.rows_per_forward
            )
            row = {"step": step, "epoch": step * config.batch_size / len(prompts)}
            row |= learner.learn(step, rollout, ref_logps, generator)
            row["responses_per_second"] = len(rollout) / (time.perf_counter() - started)
            last = step == config.steps
            if eval_prompts and (last or (config.eval_every and step % config.eval_every == 0)):
                row |= evaluate()
            folder.write_row(row)
            if last or (config.checkpoint_every and step % config.checkpoint_every == 0):
                folder.save(model, optimizer, step)
            yield row
        folder.save_model(policy, tokenizer)

    return Training(loop())
