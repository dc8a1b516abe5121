"""Direct Preference Optimization: the whole loop."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.batches import in_order_of_length
from dpo_notes.language.chat import render
from dpo_notes.language.encode import encode_pairs
from dpo_notes.language.load import context_length
from dpo_notes.language.pairs import PreferencePair
from dpo_notes.language.score import batch_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss, preference_metrics
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import autocast, new_accelerator
from dpo_notes.training.evaluate import on_policy_metrics
from dpo_notes.training.identity import run_identity
from dpo_notes.training.order import Step, epoch_steps
from dpo_notes.training.reference import ReferencedPairs
from dpo_notes.training.step import OptimizerStep, TrainingDiverged

LossFunction = Callable[..., Tensor]
Row = dict[str, float]


def train_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    pairs: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    config: DPOConfig,
    *,
    loss_fn: LossFunction = dpo_loss,
    eval_pairs: Sequence[PreferencePair] | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> Iterator[Row]:
    """Train `policy` in place on comparisons; yields one row of metrics an optimizer step.

    `loss_fn(chosen, rejected, *, beta) -> (batch,)` gets log-ratios, policy minus reference, or with `reference` None
    the policy's own log-probabilities; summed or per-token means as `config.reduction` says.
    Rows hold "step", "epoch", "loss" (nats), "rewards/…" (nats), "logps/…" (nats), "grad_norm", "learning_rate" and
    "pairs_per_second". With `eval_pairs` the rows of evaluations, the first of them at step 0 before any training, also
    hold "eval/loss", "eval/rewards/…" and the on-policy "eval/kl", "eval/kl_error", "eval/length" (and, in the review
    world, "eval/reward" and "eval/grammatical").
    `output_dir` receives metrics.jsonl, checkpoint/ and at the end model/; `resume` goes on from its last checkpoint and
    yields the rows that follow it, bitwise those of an uninterrupted run on the CPU, in float32, with as many threads.
    Raises InputError for what the user can mend, before the first row; TrainingDiverged when the loss is not finite.
    Known value: loss log 2 and margins 0 at step 1, when policy equals reference.
    """
    if not pairs:
        raise InputError("no pairs to train on; expected at least one")
    if reference is policy:
        raise InputError("the reference is the policy itself, and would change with it; expected a frozen_copy of it")
    max_length = min(config.max_length, context_length(policy))
    encoded = encode_pairs(tokenizer, pairs, max_length=max_length)
    eval_encoded = encode_pairs(tokenizer, eval_pairs or [], max_length=max_length)
    prompts = [render(tokenizer, pair)[0] for pair in (eval_pairs or [])[: config.eval_samples]]
    accelerator = new_accelerator()

    @lru_cache(maxsize=1)
    def steps_of(epoch: int) -> list[Step]:
        return epoch_steps(
            [len(pair) for pair in encoded],
            batch_size=config.batch_size,
            accumulation_steps=config.accumulation_steps,
            processes=accelerator.num_processes,
            seed=config.seed,
            epoch=epoch,
        )

    steps_per_epoch = len(steps_of(0))
    if steps_per_epoch == 0:
        raise InputError(f"{len(pairs)} pairs for {accelerator.num_processes} processes; expected one or more for each")
    identity = {}
    if output_dir is not None:
        identity = run_identity(
            config, encoded, eval_encoded, policy, reference, loss_fn, processes=accelerator.num_processes
        )
    folder = RunFolder(output_dir, accelerator, identity=identity, resume=resume)

    def loop() -> Iterator[Row]:
        total_steps = config.epochs * steps_per_epoch
        policy.eval()  # evaluation mode turns dropout off; gradients flow as in training mode
        take_step = OptimizerStep(
            policy,
            accelerator,
            learning_rate=config.learning_rate,
            total_steps=total_steps,
            warmup_steps=round(config.warmup_fraction * total_steps),
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
        )
        done = folder.restore(take_step.model, take_step.optimizer.optimizer)
        if reference is not None:
            reference.to(accelerator.device).eval()
        first_epoch = [microbatch for step in steps_of(0) for microbatch in step]
        train_set = ReferencedPairs(encoded, reference, accelerator, config, batches=first_epoch)
        eval_batches = in_order_of_length([len(pair) for pair in eval_encoded], config.batch_size)
        eval_set = ReferencedPairs(eval_encoded, reference, accelerator, config, batches=eval_batches)

        def evaluate() -> Row:
            row = evaluate_pairs(take_step.model, eval_set, eval_batches, config, loss_fn)
            if prompts:
                row |= on_policy_metrics(  # in float32, whatever the precision of training
                    accelerator.unwrap_model(take_step.model),
                    reference,
                    tokenizer,
                    prompts,
                    max_new_tokens=min(max_length // 2, max(len(pair.chosen) for pair in eval_encoded)),
                    generator=torch.Generator().manual_seed(config.seed),  # always the same: less noise
                )
            return {f"eval/{name}": value for name, value in row.items()}

        if done is None:
            done = 0
            if eval_encoded:
                yield folder.write_row({"step": 0, "epoch": 0.0} | evaluate())
        for step in range(done + 1, total_steps + 1):
            started = time.perf_counter()
            epoch, position = divmod(step - 1, steps_per_epoch)
            microbatches = steps_of(epoch)[position]
            size = sum(map(len, microbatches))

            def share(numbers: list[int], size: int = size) -> dict[str, Tensor]:
                per_pair = pair_metrics(take_step.model, train_set, numbers, config, loss_fn)
                return {name: values.sum() / size for name, values in per_pair.items()}

            try:
                ours = microbatches[accelerator.process_index :: accelerator.num_processes]
                metrics = take_step(step, ours, share)
            except TrainingDiverged as error:
                raise TrainingDiverged(
                    f"{error}; pairs {sorted(number for batch in microbatches for number in batch)}, counted from 0"
                ) from error
            row = {"step": step, "epoch": step / steps_per_epoch} | metrics
            row["pairs_per_second"] = size / (time.perf_counter() - started)
            last = step == total_steps
            if eval_encoded and (last or (config.eval_every and step % config.eval_every == 0)):
                row |= evaluate()
            folder.write_row(row)
            if last or (config.checkpoint_every and step % config.checkpoint_every == 0):
                folder.save(take_step.model, take_step.optimizer.optimizer, step)
            yield row
        folder.save_model(take_step.model, tokenizer)

    return loop()


def pair_metrics(
    model: nn.Module, pairs: ReferencedPairs, numbers: Sequence[int], config: DPOConfig, loss_fn: LossFunction
) -> dict[str, Tensor]:
    """For each of the pairs with these numbers, "loss", "rewards/…" and "logps/…"; only "loss" carries a gradient."""
    batch, reference_chosen, reference_rejected = pairs.batch(numbers)
    with autocast(batch.input_ids.device, config.precision):
        chosen, rejected = batch_logps(model, batch, reduction=config.reduction)
    logratios = chosen - reference_chosen, rejected - reference_rejected
    return {
        "loss": loss_fn(*logratios, beta=config.beta),
        **preference_metrics(*logratios, beta=config.beta),
        "logps/chosen": chosen.detach(),
        "logps/rejected": rejected.detach(),
    }


@torch.no_grad()
def evaluate_pairs(
    model: nn.Module,
    pairs: ReferencedPairs,
    batches: Sequence[Sequence[int]],
    config: DPOConfig,
    loss_fn: LossFunction = dpo_loss,
) -> Row:
    """The means of `pair_metrics` over all batches (lists of pair numbers). Every process computes all of it."""
    totals: dict[str, Tensor] = {}
    for numbers in batches:
        for name, values in pair_metrics(model, pairs, numbers, config, loss_fn).items():
            totals[name] = totals.get(name, 0) + values.sum()
    count = sum(map(len, batches))
    return dict(zip(totals, (torch.stack(list(totals.values())) / count).tolist(), strict=True))
