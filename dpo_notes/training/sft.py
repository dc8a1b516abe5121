"""Supervised fine-tuning: make the chosen responses likely, usually before learning from preferences."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.head import predicted_logps
from dpo_notes.language.load import context_length, frozen_copy
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.batches import collate, in_order_of_length
from dpo_notes.pairs.chat import render
from dpo_notes.pairs.encode import EncodedPair, encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.config import check_loop_settings
from dpo_notes.training.device import autocast, new_accelerator
from dpo_notes.training.epochs import EpochSteps, train_epochs
from dpo_notes.training.evaluate import Judge, on_policy_metrics
from dpo_notes.training.identity import data_digest, run_identity, shapes_digest, weights_digest
from dpo_notes.training.training import Training


@dataclass(frozen=True)
class SFTConfig:
    """Settings of a fine-tuning run, tuned on the embedded model. Raises InputError for values out of range."""

    learning_rate: float = 1e-4  # at its peak; at twice that the held-out loss no longer falls
    epochs: int = 1  # passes through the pairs; with more, the model memorizes the responses
    batch_size: int = 16  # chosen responses per forward pass and process
    accumulation_steps: int = 1  # forward passes per optimizer step
    warmup_fraction: float = 0.1  # of all steps; the learning rate rises, then falls linearly to 0
    weight_decay: float = 0.0  # AdamW's, on matrices; not needed for so few steps
    max_grad_norm: float = 1.0  # L2 norm to which the gradient is clipped
    max_length: int = 512  # tokens of prompt and response; at most the model's context
    precision: str = "auto"  # "fp32", "bf16", "fp16", or "auto": on a GPU bf16, or fp16 without it; fp32 elsewhere
    eval_every: int = 0  # optimizer steps between evaluations; 0: only before the first and after the last
    eval_samples: int = 64  # prompts answered by the model at an evaluation, for KL and length; 0: none
    checkpoint_every: int = 100  # optimizer steps between checkpoints, where there is a folder for them
    seed: int = 0  # of the order of pairs, and of the samples at evaluations

    def __post_init__(self):
        check_loop_settings(self)


def train_sft(
    model: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    config: SFTConfig,
    *,
    eval_pairs: Sequence[PreferencePair] | None = None,
    judge: Judge | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> Training:
    """Train `model` in place on the chosen responses: a `Training`, which yields one row of metrics per optimizer step.

    loss = −sum of log p(token | prompt, earlier tokens) / (responses of the step * mean tokens per response), over all
    response tokens of the step, with end of text and without the prompt; the mean is that of all `pairs`.
    So all tokens of an epoch have equal weight. We do not divide by each step's own number of tokens: steps hold
    responses of similar length, so a token of a short response would weigh more than one of a long response, and the
    model would learn to be brief. A batch of 8 is 8 accumulated batches of 1.
    The rejected responses have no influence, except on what `encode_pairs` cuts.
    The minimum over all distributions is the conditional distribution of the data; its loss is the data's entropy.

    Rows hold "step", "epoch", "loss" (nats per token), "logps/chosen" (nats per response), "grad_norm", "learning_rate"
    and "pairs_per_second". With `eval_pairs` the rows of evaluations, the first of them at step 0 before any training,
    also hold "eval/loss", "eval/logps/chosen" and the on-policy metrics of train_dpo; "eval/kl" is the divergence from
    the model before training.
    `output_dir`, `resume` and errors are those of train_dpo.
    Known value: log(vocabulary), on average over an epoch, for a model whose logits are all equal.
    """
    if not pairs:
        raise InputError("no pairs to train on; expected at least one")
    max_length = min(config.max_length, context_length(model))
    encoded = encode_pairs(tokenizer, pairs, max_length=max_length)
    eval_encoded = encode_pairs(tokenizer, eval_pairs or [], max_length=max_length)
    prompts = [render(tokenizer, pair)[0] for pair in (eval_pairs or [])[: config.eval_samples]]
    start = frozen_copy(model) if prompts else None
    mean_length = sum(len(pair.chosen) for pair in encoded) / len(encoded)
    accelerator = new_accelerator()
    steps = EpochSteps([_length(pair) for pair in encoded], config, processes=accelerator.num_processes)
    identity = {}
    if output_dir is not None:
        identity = run_identity(
            config,
            pairs=data_digest(encoded),
            eval_pairs=data_digest(eval_encoded),
            model=shapes_digest(model),
            start=None if start is None else weights_digest(start),
            processes=accelerator.num_processes,
        )
    folder = RunFolder(output_dir, accelerator, identity=identity, resume=resume)

    def share(model: nn.Module, numbers: list[int], whole: list[int]) -> dict[str, Tensor]:
        total = chosen_logps(model, [encoded[number] for number in numbers], config).sum()
        return {"loss": -total / (mean_length * len(whole)), "logps/chosen": total.detach() / len(whole)}

    def evaluate(model: nn.Module) -> Row:
        row = evaluate_chosen(model, eval_encoded, config)
        if start is not None:
            row |= on_policy_metrics(  # in float32, whatever the precision of training
                accelerator.unwrap_model(model),
                start.to(accelerator.device),
                tokenizer,
                prompts,
                max_new_tokens=min(max_length // 2, max(len(pair.chosen) for pair in eval_encoded)),
                generator=torch.Generator().manual_seed(config.seed),  # the same at every evaluation: less noise
                judge=judge,
            )
        return row

    held_out = evaluate if eval_encoded else None
    rows = train_epochs(model, tokenizer, steps, config, pairs=pairs, folder=folder, share=share, evaluate=held_out)
    return Training(rows)


def chosen_logps(model: nn.Module, pairs: Sequence[EncodedPair], config: SFTConfig) -> Float[Tensor, " tokens"]:
    """Log-probability of every token of the chosen responses given the tokens before it, in nats, concatenated."""
    device = next(model.parameters()).device
    batch = collate([pair.prompt for pair in pairs], [pair.chosen for pair in pairs]).to(device)
    tokens = batch.input_ids.flatten()[batch.response_index]
    with autocast(device, config.precision):
        return predicted_logps(model, batch.response_index - 1, tokens, input_ids=batch.input_ids)


@torch.no_grad()
def evaluate_chosen(model: nn.Module, pairs: Sequence[EncodedPair], config: SFTConfig) -> Row:
    """Held-out "loss" in nats per token and "logps/chosen" in nats per response. Every process computes all of it."""
    batches = in_order_of_length([_length(pair) for pair in pairs], config.batch_size)
    sums = [chosen_logps(model, [pairs[number] for number in numbers], config).sum() for numbers in batches]
    total = torch.stack(sums).sum().item()
    return {"loss": -total / sum(len(pair.chosen) for pair in pairs), "logps/chosen": total / len(pairs)}


def _length(pair: EncodedPair) -> int:
    """Tokens of the prompt with its chosen response."""
    return len(pair.prompt) + len(pair.chosen)
