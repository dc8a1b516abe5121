"""The training loop of DPO, reward model and fine-tuning: epochs over fixed examples, one optimizer step at a time."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.device import half_precision
from dpo_notes.training.order import Step, epoch_steps
from dpo_notes.training.out_of_memory import memory_in_one_line
from dpo_notes.training.step import OptimizerStep, TrainingDiverged

Given, Made = TypeVar("Given"), TypeVar("Made")


class EpochSteps:
    """The steps of a run on examples of these `lengths` (tokens): `steps[7]` is the seventh, a list of microbatches.

    `config` holds epochs, batch_size, accumulation_steps and seed, and perhaps tokens_per_batch, of the `tokens` that
    each example has in all. Raises InputError for fewer examples than processes.
    """

    def __init__(self, lengths: Sequence[int], config, *, processes: int, tokens: Sequence[int] = ()):
        sizes = {"batch_size": config.batch_size, "accumulation_steps": config.accumulation_steps}
        sizes |= {"tokens": tokens, "tokens_per_batch": getattr(config, "tokens_per_batch", 0)}
        # An epoch is ordered when it begins, and the last one asked for is kept.
        self._epoch = lru_cache(maxsize=1)(
            lambda epoch: epoch_steps(lengths, **sizes, processes=processes, seed=config.seed, epoch=epoch)
        )
        self.per_epoch = len(self._epoch(0))
        self.total = config.epochs * self.per_epoch
        if self.per_epoch == 0:
            raise InputError(f"{len(lengths)} pairs for {processes} processes; expected one or more for each")

    def __getitem__(self, step: int) -> Step:
        epoch, position = divmod(step - 1, self.per_epoch)
        return self._epoch(epoch)[position]


def train_epochs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    steps: EpochSteps,
    config,
    *,
    pairs: Sequence[PreferencePair],
    folder: RunFolder,
    share: Callable[[nn.Module, object, list[int]], dict[str, Tensor]],
    evaluate: Callable[[nn.Module], Row] | None,
    prepare: Callable[[list[int]], object] = lambda numbers: numbers,
) -> Iterator[Row]:
    """Train `model` in place; yields one row per step, and with `evaluate` one at step 0, before any training.

    `share(model, prepare(numbers), whole)` returns what the examples `numbers` add to the means over all examples
    `whole` of the step, as OptimizerStep takes it; `prepare` must not depend on the model, since a GPU's next batch is
    prepared while it computes. `evaluate(model)` returns the held-out metrics; we prefix their names with "eval/". Both
    get the model as prepared by Accelerate. `config` holds the settings that DPOConfig also has; `pairs` are what the
    numbers refer to.
    Rows hold "step", "epoch", what `share` returns, "grad_norm", "learning_rate" and "pairs_per_second". They and the
    checkpoints go to `folder`, which also says where to resume. Raises TrainingDiverged if the loss is not finite; the
    message names the pairs of that step: by their place in the file, or counted from 1. Raises OutOfMemory.
    """
    model.eval()  # evaluation mode turns dropout off; gradients flow as in training mode
    accelerator = folder.accelerator
    take_step = OptimizerStep(
        model,
        accelerator,
        learning_rate=config.learning_rate,
        total_steps=steps.total,
        warmup_steps=round(config.warmup_fraction * steps.total),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        scaled=half_precision(accelerator.device, config.precision) == torch.float16,
    )

    def held_out() -> Row:
        with memory_in_one_line("an evaluation"):
            return {f"eval/{name}": value for name, value in evaluate(take_step.model).items()}

    def ours(step: int) -> list[object]:
        return [prepare(numbers) for numbers in steps[step][accelerator.process_index :: accelerator.num_processes]]

    done = folder.restore(take_step.model, take_step.optimizer.optimizer, last_step=steps.total)
    if done is None:
        done = 0
        if evaluate is not None:
            yield folder.write_row({"step": 0, "epoch": 0.0} | held_out())
    started = time.perf_counter()
    going_on = range(done + 1, steps.total + 1)
    made = one_ahead(ours, going_on) if accelerator.device.type == "cuda" else map(ours, going_on)
    for step, microbatches in zip(going_on, made, strict=True):
        whole = [number for microbatch in steps[step] for number in microbatch]
        try:
            with memory_in_one_line(f"step {step}"):
                metrics = take_step(step, microbatches, lambda part, whole=whole: share(take_step.model, part, whole))
        except TrainingDiverged as error:
            held = "; ".join(pairs[number].place or f"pair {number + 1}" for number in sorted(whole))
            raise TrainingDiverged(f"{error}; the step held {held}") from error
        row = {"step": step, "epoch": step / steps.per_epoch} | metrics
        row["pairs_per_second"] = len(whole) / (time.perf_counter() - started)
        last = step == steps.total
        if evaluate is not None and (last or (config.eval_every and step % config.eval_every == 0)):
            row |= held_out()
        folder.write_row(row)
        if last or (config.checkpoint_every and step % config.checkpoint_every == 0):
            folder.save(take_step.model, take_step.optimizer.optimizer, step)
        yield row
        started = time.perf_counter()
    folder.save_model(take_step.model, tokenizer)


def one_ahead(make: Callable[[Given], Made], items: Iterable[Given]) -> Iterator[Made]:
    """make(item) for each item in order, the next one made in another thread while the caller works with this one."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for item in items:
            begun = thread.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = begun
        if waiting is not None:
            yield waiting.result()
