"""python benchmarks/trl_side_by_side.py    the same 50 steps of DPO, ours and TRL's, on the embedded GPT-2

The same pairs in the same order, the same optimizer, float32, one thread. Writes data/recorded/trl-side-by-side/run.json,
which notebook 12 shows: "rows" hold what both logged at each step, under the names that both use. Needs the packages of
tests/requirements.txt (TRL 1.16). Under a minute.
"""

import json
import os
import tempfile
from dataclasses import asdict
from importlib.metadata import version

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import torch
import trl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.embedded import DATA
from dpo_notes.language.encode import encode_pairs
from dpo_notes.language.load import context_length, frozen_copy, load_model
from dpo_notes.language.pairs import PreferencePair, load_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.frontier.record import circumstances, write_record
from dpo_notes.training.order import epoch_steps

FILE = DATA / "recorded" / "trl-side-by-side" / "run.json"
COMMAND = "python benchmarks/trl_side_by_side.py"
STEPS = 50
CONFIG = DPOConfig(learning_rate=1e-3, batch_size=8, epochs=1, warmup_fraction=0.0, eval_samples=0, precision="fp32")
REWARDS = [f"rewards/{name}" for name in ("chosen", "rejected", "margins", "accuracies")]
SHARED = ["loss", "grad_norm", "learning_rate", *REWARDS, "logps/chosen", "logps/rejected"]  # both log them, named so

Rows = list[dict[str, float]]


class RecordingTrainer(trl.DPOTrainer):
    """TRL's trainer as it is, which also keeps the loss of each step unrounded."""

    def compute_loss(self, *arguments, **keywords):
        loss = super().compute_loss(*arguments, **keywords)
        self.losses = [*getattr(self, "losses", []), loss.item()]
        return loss


def run_ours(pairs: list[PreferencePair]) -> Rows:
    """The rows of `train_dpo` on the embedded model."""
    policy, tokenizer = load_model()
    policy.requires_grad_()
    return list(train_dpo(policy, frozen_copy(policy), pairs, tokenizer, CONFIG))


def run_trl(pairs: list[PreferencePair]) -> Rows:
    """The rows that TRL's DPOTrainer logs, given the pairs in the order in which `train_dpo` takes them."""
    policy, tokenizer = load_model()
    reference = frozen_copy(policy)  # made before TRL patches anything
    columns = {name: [getattr(pair, name) for pair in pairs] for name in ("prompt", "chosen", "rejected")}
    with tempfile.TemporaryDirectory() as folder:
        trainer = RecordingTrainer(
            model=policy.requires_grad_(),
            ref_model=reference,
            args=trl_config(folder),
            train_dataset=datasets.Dataset.from_dict(columns),
            processing_class=tokenizer,
        )
        trainer.train()
    return [row | {"loss": loss} for row, loss in zip(trainer.state.log_history, trainer.losses, strict=False)]


def trl_config(folder: str) -> trl.DPOConfig:
    """CONFIG in TRL's words; the rest switches off what TRL does beyond it, or keeps it quiet."""
    return trl.DPOConfig(
        output_dir=folder,
        beta=CONFIG.beta,
        loss_type=["sigmoid"],
        learning_rate=CONFIG.learning_rate,
        per_device_train_batch_size=CONFIG.batch_size,
        gradient_accumulation_steps=CONFIG.accumulation_steps,
        num_train_epochs=CONFIG.epochs,
        lr_scheduler_type="linear",
        warmup_steps=0,
        optim="adamw_torch",
        weight_decay=CONFIG.weight_decay,
        max_grad_norm=CONFIG.max_grad_norm,
        max_length=None,
        train_sampling_strategy="sequential",
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def in_our_order(pairs: list[PreferencePair], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> list:
    """The pairs in the order in which `train_dpo` goes through them in its first epoch."""
    lengths = [len(pair) for pair in encode_pairs(tokenizer, pairs, max_length=context_length(model))]
    sizes = {"batch_size": CONFIG.batch_size, "accumulation_steps": CONFIG.accumulation_steps, "processes": 1}
    steps = epoch_steps(lengths, **sizes, seed=CONFIG.seed, epoch=0)
    return [pairs[number] for step in steps for microbatch in step for number in microbatch]


def main() -> None:
    torch.set_num_threads(1)
    pairs = load_pairs("embedded", split="train")[: STEPS * CONFIG.batch_size]
    model, tokenizer = load_model()
    ours, theirs = run_ours(pairs), run_trl(in_our_order(pairs, tokenizer, model))
    rows = [
        {"step": mine["step"]}
        | {f"ours/{name}": mine[name] for name in SHARED}
        | {f"trl/{name}": its[name] for name in SHARED}
        for mine, its in zip(ours, theirs[: len(ours)], strict=True)  # TRL's last row sums up the run
    ]
    record = {"recorded": circumstances(COMMAND), "settings": asdict(CONFIG), "rows": rows}
    record["recorded"]["versions"] |= {name: version(name) for name in ("trl", "datasets")}
    write_record(FILE, record)
    worst = {name: max(abs(row[f"ours/{name}"] - row[f"trl/{name}"]) for row in rows) for name in SHARED}
    print(json.dumps(worst, indent=1))


if __name__ == "__main__":
    main()
