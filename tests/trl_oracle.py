"""TRL's trainers as oracles: they take our pairs in our order, with our optimizer and schedule, on the CPU."""

import datasets

from dpo_notes.training.order import epoch_steps

SETTINGS = {
    "num_train_epochs": 1,
    "train_sampling_strategy": "sequential",
    "optim": "adamw_torch",
    "weight_decay": 0.0,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0,
    "max_grad_norm": 1.0,
    "max_length": None,
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


def order_of(encoded: list, *, batch_size: int, epochs: int) -> list[int]:
    """The pair numbers of all our steps in a row."""
    sizes = {"batch_size": batch_size, "accumulation_steps": 1, "processes": 1, "seed": 0}
    steps = [step for epoch in range(epochs) for step in epoch_steps([len(p) for p in encoded], **sizes, epoch=epoch)]
    return [number for step in steps for microbatch in step for number in microbatch]


def new_trainer(trainer: type, config: type, pairs: list, tokenizer, folder, *, settings: dict, **models):
    """TRL's trainer on these pairs in this order; it also keeps the loss of each step unrounded."""

    class Recording(trainer):
        losses: tuple[float, ...] = ()

        def compute_loss(self, *arguments, **keywords):
            loss = super().compute_loss(*arguments, **keywords)
            self.losses += (loss.item(),)
            return loss

    columns = {name: [getattr(pair, name) for pair in pairs] for name in ("prompt", "chosen", "rejected")}
    data = datasets.Dataset.from_dict(columns)
    args = config(output_dir=str(folder), **SETTINGS, **settings)
    return Recording(args=args, train_dataset=data, processing_class=tokenizer, **models)


def rows_of(trainer) -> list[dict[str, float]]:
    """Train; returns TRL's log of every step with its unrounded loss."""
    trainer.train()
    return [row | {"loss": loss} for row, loss in zip(trainer.state.log_history, trainer.losses, strict=False)]
