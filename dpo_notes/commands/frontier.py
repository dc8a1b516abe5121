"""dpo-notes frontier: true reward against KL for DPO, reward model + PPO, best-of-n and SFT, each at several strengths

examples:
  dpo-notes frontier
      the whole experiment: 3 seeds, 37 minutes on two cores; writes data/recorded/frontier/
  dpo-notes frontier --quick
      a small one, a minute and a half; writes runs/frontier-quick/
  dpo-notes frontier --betas 0.25 1 --seeds 2 --output runs/mine
      other betas for DPO and PPO, seeds 0 and 1

Results of finished jobs are kept in runs/frontier/ (with --quick: runs/frontier-quick/). If you stop the command, run
it again to continue; remove that folder to start over. The record is frontier.json, the picture frontier.png.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to compare, and where to write."""
    parser.add_argument("--quick", action="store_true", help="one seed, fewer strengths, less training")
    parser.add_argument("--betas", type=float, nargs="+", metavar="BETA", help="for DPO and PPO, in place of their own")
    parser.add_argument("--seeds", type=int, metavar="COUNT", help="how many seeds (default 3; with --quick 1)")
    workers = "jobs at once (default: one per core); changes no result"
    parser.add_argument("--workers", type=int, metavar="COUNT", help=workers)
    jobs = "results of finished jobs (default runs/frontier, or …-quick)"
    parser.add_argument("--jobs", type=Path, metavar="FOLDER", help=jobs)
    output = (
        "for record and picture (default: the repository's data/recorded/frontier; with other settings, that of --jobs)"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help=output)


def run(args: argparse.Namespace) -> int:
    """Run the remaining jobs under a progress bar; write record and picture; print the means over seeds."""
    from dpo_notes.commands.frontier_run import run_experiment

    return run_experiment(args)
