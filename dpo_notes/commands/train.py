"""dpo-notes train: train a language model with DPO on comparisons

examples:
  dpo-notes train
      the embedded GPT-2 on the embedded comparisons, with settings tuned for them
  dpo-notes train --model gpt2 --data my_pairs.jsonl
      a model from the hub, or a folder, on your own file: JSON Lines, JSON, CSV or Parquet with the columns prompt,
      chosen and rejected, as text or as chat messages; or the name of a data set on the hub
  dpo-notes train --model gpt2 --data my_pairs.jsonl --loss ipo --beta 0.2 --set learning_rate=5e-6 --set epochs=2
  dpo-notes train --output runs/mine --resume
      continue where runs/mine was stopped; repeat the other arguments
  accelerate launch -m dpo_notes train …
      on several GPUs

The run folder holds model/ (for AutoModelForCausalLM.from_pretrained), metrics.jsonl, config.json, curves.png,
samples.md and checkpoint/.
"""

import argparse

from dpo_notes.commands.presets import add_data_options, add_run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, data, beta, loss, and where to write."""
    add_data_options(parser)
    parser.add_argument("--beta", type=float, help="strength of the tie to the reference (default 0.1; embedded 1)")
    parser.add_argument("--loss", default="dpo", help="dpo or one of its relatives: cdpo, ipo, simpo, … (default dpo)")
    add_run_options(parser, kind="LOSS", config="DPOConfig")


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then print the gains, the KL, and where everything is."""
    from dpo_notes.commands.train_run import train

    return train(args)
