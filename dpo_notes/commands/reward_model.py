"""dpo-notes reward-model: train a language model with a reward head on comparisons, by Bradley–Terry

examples:
  dpo-notes reward-model
      the embedded GPT-2 on the embedded comparisons, with settings tuned for them
  dpo-notes reward-model --model gpt2 --data my_pairs.jsonl --set learning_rate=2e-5 --set epochs=2
      a model of the hub, or a folder, on your own comparisons, in any form that `dpo-notes train` takes
  dpo-notes reward-model --output runs/mine --resume
      go on where runs/mine was stopped; give the other arguments again as they were

The run folder holds model/ (for load_reward_model, AutoModelForSequenceClassification.from_pretrained and TRL),
metrics.jsonl, config.json, curves.png and checkpoint/.
"""

import argparse
from pathlib import Path

from dpo_notes.commands.splits import add_on_bad_row
from dpo_notes.pairs.embedded import EMBEDDED

# Tuned on the embedded world for two epochs: more learning rate or larger batches gain nothing on held-out pairs.
EMBEDDED_PRESET = {"learning_rate": 6e-4, "batch_size": 32, "epochs": 2, "max_length": 128, "eval_every": 47}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the public contract."""
    parser.add_argument("--model", default=EMBEDDED, help="embedded, a folder, or a hub name such as gpt2")
    parser.add_argument("--data", default=EMBEDDED, help="embedded, a file, a folder, or the name of a hub data set")
    parser.add_argument(
        "--eval-data", help="comparisons held out for evaluation (default: a tenth of the data, at most 500)"
    )
    add_on_bad_row(parser)
    parser.add_argument("--output", type=Path, help="the run folder (default runs/MODEL-reward-NUMBER)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder --output")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="any field of RewardModelConfig, as often as needed",
    )


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then say how near the learnt reward came to the best possible, and where it is."""
    from dpo_notes.commands.reward_model_run import train

    return train(args)
