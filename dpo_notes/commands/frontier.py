"""dpo-notes frontier: true reward against KL for DPO, reward model + PPO, best-of-n and fine-tuning, at several strengths

examples:
  dpo-notes frontier
      the whole experiment: 3 seeds, 37 minutes on two cores; writes data/recorded/frontier/
  dpo-notes frontier --quick
      a small one, in a minute and a half; writes runs/frontier-quick/
  dpo-notes frontier --betas 0.25 1 --seeds 2 --output runs/mine
      other betas for DPO and PPO, seeds 0 and 1

What a finished job found is kept in runs/frontier/ (with --quick: runs/frontier-quick/). Stop the command in any way, and
the same command goes on; remove that folder to begin anew. The record is frontier.json, the picture frontier.png.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to compare, and where to."""
    parser.add_argument("--quick", action="store_true", help="one seed, fewer strengths, less training")
    parser.add_argument("--betas", type=float, nargs="+", metavar="BETA", help="for DPO and PPO, in place of their own")
    parser.add_argument("--seeds", type=int, metavar="COUNT", help="how many seeds (default 3; with --quick 1)")
    parser.add_argument(
        "--workers", type=int, metavar="COUNT", help="jobs at once (default: one a core); changes no result"
    )
    parser.add_argument(
        "--jobs", type=Path, metavar="FOLDER", help="what finished jobs found (default runs/frontier, or …-quick)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for record and picture (default: the repository's data/recorded/frontier, or where anything is other than "
        "in the recorded experiment the folder of --jobs)",
    )


def run(args: argparse.Namespace) -> int:
    """Do what is still to be done, under a progress bar; write record and picture; print the means over seeds."""
    from dpo_notes.commands.frontier_run import run_experiment

    return run_experiment(args)
