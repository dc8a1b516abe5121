"""dpo-notes train: train a language model with DPO on comparisons

examples:
  dpo-notes train
      the embedded GPT-2 on the embedded comparisons, with settings tuned for them
  dpo-notes train --model gpt2 --data my_pairs.jsonl
      a model of the hub, or a folder, on your own file: JSON Lines, JSON, CSV or Parquet with the columns prompt,
      chosen and rejected, as text or as chat messages; or the name of a data set on the hub
  dpo-notes train --model gpt2 --data my_pairs.jsonl --loss ipo --beta 0.2 --set learning_rate=5e-6 --set epochs=2
  dpo-notes train --output runs/mine --resume
      go on where runs/mine was stopped; give the other arguments again as they were
  accelerate launch -m dpo_notes train …
      on several GPUs

The run folder holds model/ (for AutoModelForCausalLM.from_pretrained), metrics.jsonl, config.json, curves.png,
samples.md and checkpoint/.
"""

import argparse
from pathlib import Path

from dpo_notes.commands.splits import add_on_bad_row
from dpo_notes.pairs.embedded import EMBEDDED

# Tuned on the embedded world: reward well above the base model's while the texts stay grammatical.
EMBEDDED_PRESET = {
    "beta": 1.0,
    "learning_rate": 2e-4,
    "batch_size": 32,
    "epochs": 2,
    "max_length": 128,
    "eval_every": 47,
    "eval_samples": 256,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the public contract."""
    parser.add_argument("--model", default=EMBEDDED, help="embedded, a folder, or a hub name such as gpt2")
    parser.add_argument("--data", default=EMBEDDED, help="embedded, a file, a folder, or the name of a hub data set")
    parser.add_argument(
        "--eval-data", help="comparisons held out for evaluation (default: a tenth of the data, at most 500)"
    )
    add_on_bad_row(parser)
    parser.add_argument("--beta", type=float, help="strength of the tie to the reference (default 0.1; embedded 1)")
    parser.add_argument("--loss", default="dpo", help="dpo or one of its relatives: cdpo, ipo, simpo, … (default dpo)")
    parser.add_argument("--output", type=Path, help="the run folder (default runs/MODEL-LOSS-NUMBER)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder --output")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any field of DPOConfig, as often as needed"
    )


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then say what was gained, what it cost, and where everything is."""
    from dpo_notes.commands.train_run import train

    return train(args)
