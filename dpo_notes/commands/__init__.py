"""What the command line does: one file per command."""

COMMANDS = ("train", "sample", "evaluate", "pretrain", "reward-model", "ppo", "frontier", "grade", "lab", "doctor")
