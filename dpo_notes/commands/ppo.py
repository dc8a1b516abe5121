"""dpo-notes ppo: train a language model by reinforcement learning (PPO) on the true reward or a reward model

examples:
  dpo-notes ppo
      the embedded GPT-2 on the raters' true reward, which is known in the review world; 74 seconds on one core
  dpo-notes reward-model --output runs/reward
  dpo-notes ppo --reward runs/reward/model
      the same on a reward that was learnt from comparisons, as RLHF does it
  dpo-notes ppo --model gpt2 --data my_pairs.jsonl --reward runs/my-reward/model --beta 0.2 --set steps=500
      your own: of the comparisons only the prompts are used
  dpo-notes ppo --beta 0
      nothing but reward: see what becomes of the language
  dpo-notes ppo --output runs/mine --resume
      go on where runs/mine was stopped; give the other arguments again as they were

The run folder holds model/ (for AutoModelForCausalLM.from_pretrained), metrics.jsonl, config.json, curves.png,
samples.md and checkpoint/.
"""

import argparse
from pathlib import Path

from dpo_notes.commands.splits import add_on_bad_row
from dpo_notes.pairs.embedded import EMBEDDED

TRUE_REWARD = "true"

# Tuned on the embedded world: at beta 1 as much reward as a minute or so of rollouts gives, at little KL.
EMBEDDED_PRESET = {
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to start, what to answer, what is rewarded, and where to."""
    parser.add_argument("--model", default=EMBEDDED, help="embedded, a folder, or a hub name such as gpt2")
    parser.add_argument(
        "--data",
        default=EMBEDDED,
        help="comparisons whose prompts are answered: embedded, a file, a folder, a hub name",
    )
    parser.add_argument(
        "--eval-data", help="comparisons whose prompts are held out (default: a tenth of the data, at most 500)"
    )
    parser.add_argument(
        "--reward",
        default=TRUE_REWARD,
        metavar="true|FOLDER",
        help="the raters' reward of the review world, or a reward model's folder or hub name (default true)",
    )
    parser.add_argument("--beta", type=float, help="price of a nat of KL in reward (default 0.1; embedded 1; 0: none)")
    add_on_bad_row(parser)
    parser.add_argument("--output", type=Path, help="the run folder (default runs/MODEL-ppo-NUMBER)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder --output")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="any field of PPOConfig, as often as needed"
    )


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then say what was gained, what it cost, and where everything is."""
    from dpo_notes.commands.ppo_run import train

    return train(args)
