"""The commands of the command line, one file each."""

COMMANDS = ("train", "sample", "evaluate", "pretrain", "reward-model", "ppo", "frontier", "grade", "lab", "doctor")
