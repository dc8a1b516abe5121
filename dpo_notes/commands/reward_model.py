"""dpo-notes reward-model: train a language model with a reward head on comparisons, by Bradley–Terry

examples:
  dpo-notes reward-model
      the embedded GPT-2 on the embedded comparisons, with settings tuned for them
  dpo-notes reward-model --model gpt2 --data my_pairs.jsonl --set learning_rate=2e-5 --set epochs=2
      a model from the hub, or a folder, on your own comparisons, in any form that `dpo-notes train` takes
  dpo-notes reward-model --output runs/mine --resume
      continue where runs/mine was stopped; repeat the other arguments

The run folder holds model/ (for load_reward_model, AutoModelForSequenceClassification.from_pretrained and TRL),
metrics.jsonl, config.json, curves.png and checkpoint/.
"""

import argparse

from dpo_notes.commands.presets import add_data_options, add_run_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, data, and where to write."""
    add_data_options(parser)
    add_run_options(parser, kind="reward", config="RewardModelConfig")


def run(args: argparse.Namespace) -> int:
    """Train, with a progress bar; then compare the learnt reward with the best possible, and print where it is."""
    from dpo_notes.commands.reward_model_run import train

    return train(args)
