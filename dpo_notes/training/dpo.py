"""Direct Preference Optimization: the loss of a batch and the held-out metrics. The loop around them is `epochs.py`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.head import unwrapped
from dpo_notes.language.load import context_length
from dpo_notes.language.score import laid_out_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import preference_metrics
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.batches import in_order_of_length
from dpo_notes.pairs.chat import render
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.device import autocast, new_accelerator
from dpo_notes.training.epochs import EpochSteps, train_epochs
from dpo_notes.training.evaluate import Judge, on_policy_metrics
from dpo_notes.training.identity import data_digest, function_name, run_identity, shapes_digest, weights_digest
from dpo_notes.training.preference_loss import PreferenceLoss, preference_loss
from dpo_notes.training.reference import ReferencedPairs, Scored
from dpo_notes.training.training import Training


def train_dpo(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    pairs: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    config: DPOConfig = DPOConfig(),
    *,
    loss: str | PreferenceLoss | Callable[..., Tensor] = "dpo",
    eval_pairs: Sequence[PreferencePair] | None = None,
    judge: Judge | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> Training:
    """Train `policy` in place on comparisons: a `Training`, which yields one row of metrics an optimizer step.

    loss: a name of `LOSSES`; a function of the package, which gets what its entry there says; a function of your own,
    `loss(chosen, rejected, *, beta) -> (batch,)`, which gets summed log-ratios; or a `PreferenceLoss`, which says what
    it gets. `reference` must be None if the loss uses none.
    Rows hold "step", "epoch", "loss" (nats), "rewards/…" (nats), "logps/…" (nats), "grad_norm", "learning_rate" and
    "pairs_per_second". With `eval_pairs` the rows of evaluations, the first of them at step 0 before any training, also
    hold "eval/loss", "eval/rewards/…" and the on-policy "eval/kl", "eval/kl_error", "eval/length", and the mean of each
    value that `judge(prompts, responses)` gives, under "eval/" and its name.
    `output_dir` receives metrics.jsonl, checkpoint/ and at the end model/. `resume` continues from its last checkpoint
    and yields the remaining rows, bit for bit as without a stop (on a CPU, in float32, with as many threads).
    Raises InputError for bad arguments, before the first row; TrainingDiverged when the loss is not finite.
    Known value: loss log 2 and margins 0 at step 1, when policy equals reference.
    """
    if not pairs:
        raise InputError("no pairs to train on; expected at least one")
    if reference is policy:
        raise InputError("the reference is the policy itself, and would change with it; expected a frozen_copy of it")
    loss = preference_loss(loss)
    if loss.needs_reference != (reference is not None):
        name = function_name(loss.function)
        expected = "a frozen copy of the policy" if loss.needs_reference else "reference=None"
        raise InputError(
            f"{name} is defined {'on log-ratios to' if loss.needs_reference else 'without'} a reference; expected {expected}"
        )
    max_length = min(config.max_length, context_length(policy))
    encoded = encode_pairs(tokenizer, pairs, max_length=max_length)
    eval_encoded = encode_pairs(tokenizer, eval_pairs or [], max_length=max_length)
    prompts = [render(tokenizer, pair)[0] for pair in (eval_pairs or [])[: config.eval_samples]]
    accelerator = new_accelerator()
    tokens = [len(pair.prompt) + len(pair.chosen) + len(pair.rejected) for pair in encoded]
    steps = EpochSteps([*map(len, encoded)], config, processes=accelerator.num_processes, tokens=tokens)
    identity = {}
    if output_dir is not None:
        identity = run_identity(
            config,
            pairs=data_digest(encoded),
            eval_pairs=data_digest(eval_encoded),
            policy=shapes_digest(policy),
            reference=None if reference is None else weights_digest(reference),
            loss=function_name(loss.function),
            reduction=loss.reduction,
            processes=accelerator.num_processes,
        )
    folder = RunFolder(output_dir, accelerator, identity=identity, resume=resume)

    def loop() -> Iterator[Row]:
        if reference is not None:
            reference.to(accelerator.device).eval()
        first_epoch = [microbatch for step in range(1, steps.per_epoch + 1) for microbatch in steps[step]]
        how = {"reduction": loss.reduction}
        train_set = ReferencedPairs(encoded, policy, reference, accelerator, config, **how, batches=first_epoch)
        eval_batches = in_order_of_length([len(pair) for pair in eval_encoded], config.batch_size)
        eval_set = ReferencedPairs(eval_encoded, policy, reference, accelerator, config, **how, batches=eval_batches)
        if reference is not None and config.cache_reference:
            reference.to("cpu")  # it has said what it thinks of all pairs; only evaluations ask it again

        def share(model: nn.Module, batch: Scored, whole: list[int]) -> dict[str, Tensor]:
            per_pair = pair_metrics(model, train_set, batch, config, loss)
            return {name: values.sum() / len(whole) for name, values in per_pair.items()}

        def evaluate(model: nn.Module) -> Row:
            row = evaluate_pairs(model, eval_set, eval_batches, config, loss)
            if prompts:
                place = None if reference is None else reference.device
                row |= on_policy_metrics(  # in float32, whatever the precision of training
                    accelerator.unwrap_model(model),
                    None if reference is None else reference.to(accelerator.device),
                    tokenizer,
                    prompts,
                    max_new_tokens=min(max_length // 2, max(len(pair.chosen) for pair in eval_encoded)),
                    generator=torch.Generator().manual_seed(config.seed),  # always the same: less noise
                    judge=judge,
                )
                if reference is not None:
                    reference.to(place)
            return row

        held_out = evaluate if eval_encoded else None
        how = {"folder": folder, "share": share, "evaluate": held_out, "prepare": train_set.prepare}
        yield from train_epochs(policy, tokenizer, steps, config, pairs=pairs, **how)

    return Training(loop())


def pair_metrics(
    model: nn.Module, pairs: ReferencedPairs, batch: Scored, config: DPOConfig, loss: PreferenceLoss
) -> dict[str, Tensor]:
    """The "loss", "rewards/…" and "logps/…" of each pair in a batch of `pairs`; only "loss" carries a gradient."""
    reference_chosen, reference_rejected = pairs.reference_logps(batch)
    with autocast(reference_chosen.device, config.precision):
        chosen, rejected = laid_out_logps(model, batch.pairs, reduction=pairs.reduction)
    logratios = chosen - reference_chosen, rejected - reference_rejected
    return {
        "loss": loss.function(*logratios, beta=config.beta),
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
    loss: PreferenceLoss,
) -> Row:
    """The means of `pair_metrics` over all batches (lists of pair numbers), which the processes share among them."""
    accelerator, inner = pairs.accelerator, unwrapped(model)  # no gradient: nothing for a wrapper to do
    ours = batches[accelerator.process_index :: accelerator.num_processes]
    totals: dict[str, Tensor] = {}
    for numbers in ours or batches[:1]:
        for name, values in pair_metrics(inner, pairs, pairs.prepare(numbers), config, loss).items():
            totals[name] = totals.get(name, 0) + values.sum()
    sums = accelerator.reduce(torch.stack(list(totals.values())) * bool(ours), "sum")
    return dict(zip(totals, (sums / sum(map(len, batches))).tolist(), strict=True))
