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

from dpo_notes.commands.presets import TRUE_REWARD, add_data_options, add_run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to start, what to answer, what is rewarded, and where to."""
    add_data_options(parser, used="; only the prompts are used")
    parser.add_argument(
        "--reward",
        default=TRUE_REWARD,
        metavar="true|FOLDER",
        help="the raters' reward of the review world, or a reward model's folder or hub name (default true)",
    )
    parser.add_argument("--beta", type=float, help="price of a nat of KL in reward (default 0.1; embedded 1; 0: none)")
    add_run_options(parser, kind="ppo", config="PPOConfig")


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then say what was gained, what it cost, and where everything is."""
    from dpo_notes.commands.ppo_run import train

    return train(args)
