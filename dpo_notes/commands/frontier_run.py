"""The body of `dpo-notes frontier`: run the jobs under a progress bar, write record and picture, print a table."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from dpo_notes.experiments.frontier.folder import JobFolder
from dpo_notes.experiments.frontier.plan import FULL, QUICK, FrontierConfig
from dpo_notes.experiments.frontier.record import Record, circumstances, gather, write_record
from dpo_notes.experiments.frontier.run import Progress, run_frontier
from dpo_notes.experiments.frontier.workers import JobFailed
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.embedded import data_folder
from dpo_notes.pairs.harmless import for_terminal
from dpo_notes.plots.frontier import METHODS, frontier_picture, seed_means
from dpo_notes.training.device import process_state
from dpo_notes.training.output_folder import check_folder, replaced_file, take_folder


def run_experiment(args: argparse.Namespace) -> int:
    """Run `dpo-notes frontier` with these arguments; returns the exit code."""
    config = make_config(args)
    jobs = args.jobs or Path("runs", "frontier-quick" if args.quick else "frontier")
    output = args.output or (data_folder() / "recorded" / "frontier" if config == FULL else jobs)
    if args.workers is not None and args.workers < 1:
        raise InputError(f"--workers is {args.workers}; expected at least 1")
    if process_state().num_processes > 1:
        raise InputError(f"{process_state().num_processes} processes; expected one, which starts its own (--workers)")
    for folder in (jobs, output):
        check_folder(folder, maker="frontier")
    command = "dpo-notes " + shlex.join(_words(args))
    go_on = f"Finished jobs are kept in {jobs}; continue with: {command}"
    try:
        _show_progress(run_frontier(config, jobs, workers=args.workers))
    except KeyboardInterrupt:
        print(f"\nstopped. {go_on}", file=sys.stderr)
        return 130
    except JobFailed as error:
        print(f"\ndpo-notes: {for_terminal(str(error), lines=True)}\n{go_on}", file=sys.stderr)
        return 1
    record = circumstances(command) | gather(config, JobFolder(jobs))
    take_folder(output, maker="frontier")
    write_record(output / "frontier.json", record)
    write_picture(output / "frontier.png", record)
    print(table(record))
    print(f"record:  {output / 'frontier.json'}\npicture: {output / 'frontier.png'}")
    return 0


def write_picture(path: Path, record: Record) -> None:
    """Draw the frontier."""
    with replaced_file(path) as aside:
        frontier_picture(record).savefig(aside, dpi=110)


def make_config(args: argparse.Namespace) -> FrontierConfig:
    """The experiment that these arguments ask for."""
    config = QUICK if args.quick else FULL
    if args.betas is not None:
        config = replace(config, dpo_betas=tuple(args.betas), ppo_betas=tuple(args.betas))
    if args.seeds is not None:
        config = replace(config, seeds=tuple(range(args.seeds)))
    return config


def table(record: Record) -> str:
    """Means over seeds, one line per strength of each method, the base model first and the optimum last."""
    (base,) = (point for point in record["points"] if point["method"] == "base")
    lines = [f"{'means over seeds':<40}{'KL (nats)':>10}{'reward':>10}{'grammatical':>13}", _means("base model", base)]
    for method, (label, _, _) in METHODS.items():
        lines += [_means(f"{label} {mean['value']:g}", mean) for mean in seed_means(record["points"], method)]
    lines += [_means(f"optimal policy, by beta {point['beta']:g}", point) for point in record["optimum"]]
    return "\n".join(lines)


def _means(label: str, point: dict[str, object]) -> str:
    grammatical = f"{point['grammatical']:>13.1%}" if "grammatical" in point else ""
    return f"{label:<40}{point['kl']:>10.2f}{point['reward']:>10.2f}{grammatical}"


def _words(args: argparse.Namespace) -> list[str]:
    """The command-line words after `dpo-notes` that run this experiment."""
    words = ["frontier"] + ["--quick"] * args.quick
    words += ["--betas", *(f"{beta:g}" for beta in args.betas)] if args.betas else []
    for name in ("seeds", "workers", "jobs", "output"):
        value = getattr(args, name)
        words += [f"--{name}", str(value)] if value is not None else []
    return words


def _show_progress(steps: Iterator[Progress]) -> None:
    """Show finished jobs, time left, and the job that finished last."""
    with tqdm(unit="job", dynamic_ncols=True) as bar:
        for step in steps:
            if step.name is None:
                bar.total, bar.initial, bar.n = step.total, step.done, step.done
            else:
                bar.n = step.done
                bar.set_postfix_str(step.name, refresh=False)
            bar.refresh()
