"""The record of a frontier: all results, and everything needed to reproduce them, in one JSON file."""

import datetime
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from dpo_notes.experiments.frontier import plan
from dpo_notes.experiments.frontier.folder import JobFolder
from dpo_notes.experiments.frontier.plan import FrontierConfig, jobs_of
from dpo_notes.experiments.frontier.setting import load_setting
from dpo_notes.maths.best_of_n import best_of_n_kl_bound
from dpo_notes.training.identity import versions
from dpo_notes.training.output_folder import replaced_file

Record = dict[str, object]


def gather(config: FrontierConfig, folder: JobFolder) -> Record:
    """All results in one dict, in the order of the jobs. Every job must have finished."""
    results = {job.name: folder.read(job.name) for job in jobs_of(config)}
    optimum = results[plan.OPTIMUM]
    return {
        "settings": asdict(config) | {"dpo_learning_rates": [config.dpo_learning_rate(b) for b in config.dpo_betas]},
        "prompts": load_setting(config).shown_prompts,
        "points": [point for result in results.values() for point in result["points"]],
        "optimum": optimum["optimum"],
        "optimum_samples": optimum["samples_per_prompt"],
        "best_of_n_bounds": [{"n": n, "kl": round(best_of_n_kl_bound(n), 4)} for n in config.draws],
        "reward_models": [
            {"seed": seed, **results[f"{plan.REWARD_MODEL}-seed{seed}"]["reward_model"]} for seed in config.seeds
        ],
        "seconds": {name: result["seconds"] for name, result in results.items()},
    }


def circumstances(command: str) -> Record:
    """The command, today's date, processor and cores, and versions; no host or user names and no paths."""
    return {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "machine": {"processor": _processor(), "cores": os.cpu_count()},
        "versions": versions(),
    }


def write_record(path: Path, record: Record) -> None:
    """Write the record atomically, one point per line."""
    lines = [json.dumps(name) + ": " + _value(value) for name, value in record.items()]
    with replaced_file(path) as aside:
        aside.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_record(path: str | Path) -> Record:
    """Read a record that `write_record` wrote."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def _value(value: object) -> str:
    """Compact JSON, with one list item per line, so that two records can be compared line by line."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in value) + "\n]"
    return json.dumps(value, ensure_ascii=False)


def _processor() -> str:
    """The processor's name, from Linux; elsewhere as far as Python knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
