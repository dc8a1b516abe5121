"""dpo-notes evaluate: compare a trained model with its reference, on comparisons and on its own answers

examples:
  dpo-notes evaluate --model runs/embedded-dpo-1/model --beta 1
  dpo-notes evaluate --model runs/mine/model --reference gpt2 --data my_test_pairs.jsonl
"""

import argparse

from dpo_notes.commands.presets import add_on_bad_row
from dpo_notes.commands.splits import read_pairs, split_to_judge_by
from dpo_notes.pairs.embedded import EMBEDDED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, reference and data."""
    parser.add_argument("--model", required=True, help="a folder, or a hub name")
    parser.add_argument("--reference", default=EMBEDDED, help="the model before training (default embedded)")
    data = "comparisons: a file, or anything else's test split (default embedded)"
    parser.add_argument("--data", default=EMBEDDED, help=data)
    add_on_bad_row(parser)
    parser.add_argument("--beta", type=float, default=0.1, help="scales the implicit rewards (default 0.1)")
    parser.add_argument("--samples", type=int, default=256, help="prompts that the model answers (default 256)")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Print one metric per line."""
    import torch

    from dpo_notes.commands.known_rewards import best_accuracy, judge_of
    from dpo_notes.language.load import context_length, load_model
    from dpo_notes.maths.errors import InputError
    from dpo_notes.pairs.batches import in_order_of_length
    from dpo_notes.pairs.chat import render
    from dpo_notes.pairs.encode import encode_pairs
    from dpo_notes.training.config import DPOConfig
    from dpo_notes.training.device import new_accelerator
    from dpo_notes.training.dpo import evaluate_pairs
    from dpo_notes.training.evaluate import on_policy_metrics
    from dpo_notes.training.preference_loss import LOSSES
    from dpo_notes.training.reference import ReferencedPairs

    config = DPOConfig(beta=args.beta, eval_samples=args.samples, seed=args.seed, precision="fp32")
    (policy, tokenizer), (reference, _) = load_model(args.model), load_model(args.reference)
    pairs = read_pairs(args, tokenizer, args.data, split_to_judge_by(args.data))
    encoded = encode_pairs(tokenizer, pairs, max_length=min(config.max_length, context_length(policy)))
    accelerator = new_accelerator()
    policy, reference = policy.to(accelerator.device), reference.to(accelerator.device)
    if reference.get_input_embeddings().weight.shape[0] != policy.get_input_embeddings().weight.shape[0]:
        raise InputError(f"{args.model} and {args.reference} embed different numbers of tokens; expected one tokenizer")
    batches = in_order_of_length([len(pair) for pair in encoded], config.batch_size)
    referenced = ReferencedPairs(encoded, policy, reference, accelerator, config, reduction="sum", batches=batches)
    metrics = evaluate_pairs(policy, referenced, batches, config, LOSSES["dpo"])
    best = best_accuracy(pairs)
    if best is not None:
        metrics["best possible accuracy"] = best
    if config.eval_samples:
        prompts = [render(tokenizer, pair)[0] for pair in pairs[: config.eval_samples]]
        metrics |= on_policy_metrics(
            policy,
            reference,
            tokenizer,
            prompts,
            max_new_tokens=max(len(pair.chosen) for pair in encoded),
            generator=torch.Generator().manual_seed(config.seed),
            judge=judge_of(prompts),
        )
    for name, value in metrics.items():
        print(f"{name:<24}{value:>12.4f}")
    return 0
