"""dpo-notes ppo: train a language model by reinforcement learning (PPO) on the true reward or a reward model

examples:
  dpo-notes ppo
      the embedded GPT-2 on the raters' true reward, which we know in the review world; 74 seconds on one core
  dpo-notes reward-model --output runs/reward
  dpo-notes ppo --reward runs/reward/model
      the same on a reward that was learnt from comparisons, as in RLHF
  dpo-notes ppo --model gpt2 --data my_pairs.jsonl --reward runs/my-reward/model --beta 0.2 --set steps=500
      your own comparisons: only their prompts are used
  dpo-notes ppo --beta 0
      reward alone: see what happens to the language
  dpo-notes ppo --output runs/mine --resume
      continue where runs/mine was stopped; repeat the other arguments

The run folder holds model/ (for AutoModelForCausalLM.from_pretrained), metrics.jsonl, config.json, curves.png,
samples.md and checkpoint/.
"""

import argparse

from dpo_notes.commands.presets import TRUE_REWARD, add_data_options, add_run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, prompts, reward, beta, and where to write."""
    add_data_options(parser, used="; only the prompts are used")
    reward = "the raters' reward of the review world, or a reward model's folder or hub name (default true)"
    parser.add_argument("--reward", default=TRUE_REWARD, metavar="true|FOLDER", help=reward)
    parser.add_argument("--beta", type=float, help="price of a nat of KL in reward (default 0.1; embedded 1; 0: none)")
    add_run_options(parser, kind="ppo", config="PPOConfig")


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then print the gains, the KL, and where everything is."""
    from dpo_notes.commands.ppo_run import train

    return train(args)
