"""python -m dpo_notes.experiments.side_by_side    the same 50 steps of DPO, ours and TRL's, on the embedded GPT-2

The same pairs in the same order, the same optimizer, float32, one thread; takes less than a minute. Notebook 12 shows
what this writes, data/recorded/trl-side-by-side/run.json: its "rows" hold what both logged at each step, under common
names. Needs the packages of tests/requirements.txt (TRL 1.16).
"""

import json
from dataclasses import asdict
from importlib.metadata import version

import torch

from dpo_notes.experiments.frontier.record import circumstances, write_record
from dpo_notes.experiments.trl_run import in_our_order, train_with_trl
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.embedded import DATA
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

FILE = DATA / "recorded" / "trl-side-by-side" / "run.json"
COMMAND = "python -m dpo_notes.experiments.side_by_side"
STEPS = 50
CONFIG = DPOConfig(learning_rate=8e-4, batch_size=8, epochs=1, warmup_fraction=0.0, eval_samples=0, precision="fp32")
REWARDS = [f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")]
SHARED = ["loss", "grad_norm", "learning_rate", *REWARDS, "logps/chosen", "logps/rejected"]  # logged by both
PLAIN = {"use_cpu": True, "optim": "adamw_torch", "gradient_checkpointing": False, "logging_steps": 1}


def run_ours(pairs: list[PreferencePair]) -> list[Row]:
    """The rows of `train_dpo` on the embedded model."""
    policy, tokenizer = load_model()
    policy.requires_grad_()
    return list(train_dpo(policy, frozen_copy(policy), pairs, tokenizer, CONFIG))


def run_trl(pairs: list[PreferencePair]) -> list[Row]:
    """The rows that TRL's DPOTrainer logs for these pairs, which are in the order of `train_dpo`."""
    policy, tokenizer = load_model()
    rows, losses = train_with_trl(policy.requires_grad_(), frozen_copy(policy), pairs, tokenizer, CONFIG, **PLAIN)
    return [row | {"loss": loss} for row, loss in zip(rows, losses, strict=False)]


def run_both(steps: int) -> list[Row]:
    """The logs of both at each step, on the first pairs of the embedded comparisons."""
    pairs = load_pairs("embedded", split="train")[: steps * CONFIG.batch_size]
    model, tokenizer = load_model()
    ours, theirs = run_ours(pairs), run_trl(in_our_order(pairs, tokenizer, model, CONFIG))
    return [
        {"step": mine["step"]}
        | {f"ours/{name}": mine[name] for name in SHARED}
        | {f"trl/{name}": its[name] for name in SHARED}
        for mine, its in zip(ours, theirs[: len(ours)], strict=True)  # TRL's last row sums up the run
    ]


def main() -> None:
    torch.set_num_threads(1)
    rows = run_both(STEPS)
    record = {"recorded": circumstances(COMMAND), "settings": asdict(CONFIG), "rows": rows}
    record["recorded"]["versions"] |= {name: version(name) for name in ("trl", "datasets")}
    write_record(FILE, record)
    worst = {name: max(abs(row[f"ours/{name}"] - row[f"trl/{name}"]) for row in rows) for name in SHARED}
    print(json.dumps(worst, indent=1))


if __name__ == "__main__":
    main()
