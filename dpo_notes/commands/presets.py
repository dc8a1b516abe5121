"""Settings of the training commands for the embedded world, and options that the commands share."""

import argparse
from pathlib import Path

from dpo_notes.pairs.embedded import EMBEDDED
from dpo_notes.pairs.load import ON_BAD_ROW

TRUE_REWARD = "true"

# Tuned on the embedded world: much more reward than the base model, and texts that stay grammatical.
TRAIN = {
    "beta": 1.0,
    "learning_rate": 2e-4,
    "batch_size": 32,
    "epochs": 2,
    "max_length": 128,
    "eval_every": 47,
    "eval_samples": 256,
}
# For two epochs: a higher learning rate or larger batches gain nothing on held-out pairs.
REWARD_MODEL = {"learning_rate": 6e-4, "batch_size": 32, "epochs": 2, "max_length": 128, "eval_every": 47}
# At beta 1: about as much reward as a minute of rollouts can give, at little KL.
PPO = {
    "beta": 1.0,
    "learning_rate": 6e-4,
    "steps": 48,
    "batch_size": 64,
    "minibatch_size": 64,
    "epochs": 1,
    "max_new_tokens": 96,
    "eval_every": 12,
    "eval_samples": 256,
}


def add_data_options(parser: argparse.ArgumentParser, *, used: str = "") -> None:
    """Which model to start from and which comparisons to read; `used`: which part of them the command uses."""
    parser.add_argument("--model", default=EMBEDDED, help="embedded, a folder, or a hub name such as gpt2")
    data = "embedded, a file, a folder, or the name of a hub data set"
    parser.add_argument("--data", default=EMBEDDED, help=f"{data}{used}")
    held_out = "comparisons held out for evaluation (default: a tenth of the data, at most 500)"
    parser.add_argument("--eval-data", help=f"{held_out}{used}")
    add_on_bad_row(parser)


def add_on_bad_row(parser: argparse.ArgumentParser) -> None:
    """The option of every command that reads comparisons."""
    bad = "stop at a row that is not a comparison (default), or skip such rows and report how many and which"
    parser.add_argument("--on-bad-row", choices=ON_BAD_ROW, default="stop", help=bad)


def add_run_options(parser: argparse.ArgumentParser, *, kind: str, config: str) -> None:
    """Where a run goes, whether to resume it, and its settings, the fields of `config`."""
    parser.add_argument("--output", type=Path, help=f"the run folder (default runs/MODEL-{kind}-NUMBER)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the folder --output")
    fields = f"any field of {config}, as often as needed"
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help=fields)
