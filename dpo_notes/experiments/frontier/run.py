"""Run a frontier: the remaining jobs, in worker processes."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from dpo_notes.experiments.frontier import plan
from dpo_notes.experiments.frontier.folder import JobFolder
from dpo_notes.experiments.frontier.methods import METHODS, MODEL
from dpo_notes.experiments.frontier.plan import QUICK, FrontierConfig, identity_of, jobs_of
from dpo_notes.experiments.frontier.record import Record, gather
from dpo_notes.experiments.frontier.setting import load_setting, setting_digests
from dpo_notes.experiments.frontier.workers import run_in_workers
from dpo_notes.training.output_folder import check_folder, check_replaceable, take_folder


@dataclass(frozen=True)
class Progress:
    """How far an experiment is: the job that finished last (None before the first), finished jobs, and all jobs."""

    name: str | None
    done: int
    total: int


def run_frontier(config: FrontierConfig, folder: str | Path, *, workers: int | None = None) -> Iterator[Progress]:
    """Run all jobs of the experiment, each result a file in `folder`; yields once at the start and after every job.

    We skip jobs whose result is already in the folder, so the same call continues an experiment that was stopped; then
    `gather` collects the results. `workers`: processes at once (default: one per core), each on one CPU thread. Neither
    their number nor a stop changes a result.
    Raises InputError before the first job if the folder is not ours or holds results of another experiment, or if the
    data is from another world; JobFailed if a job fails.
    """
    check_folder(folder, maker="frontier")
    digests = setting_digests(config)
    files = JobFolder(folder)
    jobs = list(jobs_of(config))
    to_do = [job for job in jobs if not files.has(job.name, identity_of(config, job, digests))]
    for job in to_do:
        if job.method == plan.REWARD_MODEL:
            check_replaceable(files.model_path(job.name), maker=MODEL)
    take_folder(folder, maker="frontier")

    def progress() -> Iterator[Progress]:
        before = len(jobs) - len(to_do)
        yield Progress(None, before, len(jobs))
        needs = {job.name: job.needs for job in to_do}
        run = partial(run_job, config, files.path, digests)
        for done, name in enumerate(run_in_workers(run, needs, workers=workers or cores()), start=before + 1):
            yield Progress(name, done, len(jobs))

    return progress()


def run_job(config: FrontierConfig, folder: Path, digests: dict[str, str], name: str) -> None:
    """Run one job and save its result in the folder."""
    disable_progress_bar()  # of transformers, which would draw one for each file it writes
    started = time.perf_counter()
    job = {job.name: job for job in jobs_of(config)}[name]
    result = METHODS[job.method](load_setting(config), config, job, JobFolder(folder))
    result["seconds"] = round(time.perf_counter() - started, 1)
    JobFolder(folder).write(name, identity_of(config, job, digests), result)


def quick_frontier(folder: str | Path, *, workers: int | None = None) -> Record:
    """The record of QUICK, a small frontier for a notebook: 90 seconds on two cores, at once if it was run before."""
    for _ in run_frontier(QUICK, folder, workers=workers):
        pass
    return gather(QUICK, JobFolder(folder))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
