"""A run of TRL's DPOTrainer on pairs in our order, for benchmarks and the recorded run. Needs TRL 1.16 (tests/requirements.txt)."""

import os
import tempfile
from collections.abc import Callable, Sequence

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import datasets
import trl
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from dpo_notes.language.load import context_length
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.order import epoch_steps


class RecordingTrainer(trl.DPOTrainer):
    """TRL's trainer, unchanged except that it keeps the unrounded loss of each step."""

    def compute_loss(self, *arguments, **keywords):
        loss = super().compute_loss(*arguments, **keywords)
        self.losses = [*getattr(self, "losses", []), loss.detach()]
        return loss


class AfterEachStep(TrainerCallback):
    """Calls `heard` after each optimizer step."""

    def __init__(self, heard: Callable[[], None]):
        self.heard = heard

    def on_step_end(self, *arguments, **keywords):
        self.heard()


def train_with_trl(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    config: DPOConfig,
    *,
    after_step: Callable[[], None] = lambda: None,
    **changes,
) -> tuple[list[dict[str, float]], list[float]]:
    """(rows as TRL logs them, the loss of each step) of one epoch over `pairs`, taken in the order given.

    `config` is translated to TRL's settings; all others are TRL's defaults, or in `changes`. `reference` must have been
    copied from `policy` before this call, because TRL changes the policy.
    """
    columns = {name: [getattr(pair, name) for pair in pairs] for name in ("prompt", "chosen", "rejected")}
    with tempfile.TemporaryDirectory() as folder:
        trainer = RecordingTrainer(
            model=policy,
            ref_model=reference,
            args=trl_config(config, folder, **changes),
            train_dataset=datasets.Dataset.from_dict(columns),
            processing_class=tokenizer,
            callbacks=[AfterEachStep(after_step)],
        )
        trainer.train()
    return trainer.state.log_history, [loss.item() for loss in trainer.losses]


def trl_config(config: DPOConfig, folder: str, **changes) -> trl.DPOConfig:
    """The settings of `config` that TRL has too, with its output off."""
    settings = {
        "beta": config.beta,
        "learning_rate": config.learning_rate,
        "per_device_train_batch_size": config.batch_size,
        "gradient_accumulation_steps": config.accumulation_steps,
        "num_train_epochs": config.epochs,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "max_length": None,
        "train_sampling_strategy": "sequential",
        "bf16": config.precision == "bf16",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    return trl.DPOConfig(output_dir=folder, **settings | changes)


def in_our_order(
    pairs: Sequence[PreferencePair], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, config: DPOConfig
) -> list[PreferencePair]:
    """The pairs in the order of `train_dpo` in its first epoch."""
    lengths = [len(pair) for pair in encode_pairs(tokenizer, pairs, max_length=context_length(model))]
    sizes = {"batch_size": config.batch_size, "accumulation_steps": config.accumulation_steps, "processes": 1}
    steps = epoch_steps(lengths, **sizes, seed=config.seed, epoch=0)
    return [pairs[number] for step in steps for microbatch in step for number in microbatch]
