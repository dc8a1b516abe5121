"""A training trajectory against TRL 1.16's DPOTrainer: same pairs, same order, same optimizer, step by step."""

import pytest

from dpo_notes.language.load import frozen_copy
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.order import epoch_steps

pytest.importorskip("trl", reason="TRL is the oracle of this file")

import datasets
import trl

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, at what TRL asks of it
BETA, LEARNING_RATE, BATCH, EPOCHS = 0.1, 1e-3, 8, 17  # 3 steps an epoch of 24 pairs: 51 steps
STEPS = 51


class RecordingTrainer(trl.DPOTrainer):
    """TRL's trainer as it is, which also keeps the loss of each step unrounded."""

    def compute_loss(self, *arguments, **keywords):
        loss = super().compute_loss(*arguments, **keywords)
        self.losses = [*getattr(self, "losses", []), loss.item()]
        return loss


@pytest.fixture(scope="module")
def trajectories(new_tiny_model, tiny_tokenizer, tiny_pairs, tmp_path_factory):
    """(our rows, TRL's rows); TRL gets the pairs of all our steps in a row, and takes them in order."""
    policy = new_tiny_model()
    theirs, reference = new_tiny_model(), frozen_copy(policy)  # made before TRL patches anything
    config = DPOConfig(
        beta=BETA, learning_rate=LEARNING_RATE, batch_size=BATCH, epochs=EPOCHS, warmup_fraction=0.0, eval_samples=0
    )
    ours = list(train_dpo(policy, reference, tiny_pairs, tiny_tokenizer, config))

    encoded = encode_pairs(tiny_tokenizer, tiny_pairs, max_length=96)
    sizes = {"batch_size": BATCH, "accumulation_steps": 1, "processes": 1}
    lengths = [len(pair) for pair in encoded]
    epochs = [epoch_steps(lengths, **sizes, seed=0, epoch=epoch) for epoch in range(EPOCHS)]
    order = [number for steps in epochs for step in steps for microbatch in step for number in microbatch]
    columns = {
        name: [getattr(tiny_pairs[number], name) for number in order] for name in ("prompt", "chosen", "rejected")
    }
    trainer = RecordingTrainer(
        model=theirs,
        ref_model=frozen_copy(theirs),
        args=trl.DPOConfig(
            output_dir=str(tmp_path_factory.mktemp("trl")),
            beta=BETA,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=BATCH,
            num_train_epochs=1,
            train_sampling_strategy="sequential",
            optim="adamw_torch",
            weight_decay=0.0,
            lr_scheduler_type="linear",
            warmup_steps=0,
            max_grad_norm=1.0,
            max_length=None,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_dict(columns),
        processing_class=tiny_tokenizer,
    )
    tokens = [
        (tuple(row["prompt_ids"]), tuple(row["chosen_ids"]), tuple(row["rejected_ids"]))
        for row in trainer.train_dataset
    ]
    assert tokens == [(encoded[number].prompt, encoded[number].chosen, encoded[number].rejected) for number in order]
    trainer.train()
    logged = [row | {"loss": loss} for row, loss in zip(trainer.state.log_history, trainer.losses, strict=False)]
    return ours, logged


def test_loss_of_every_step_equals_trl(trajectories):
    ours, theirs = trajectories
    assert len(ours) == len(theirs) == STEPS
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-4)
    assert ours[-1]["loss"] < 0.1  # they went a long way together


def test_gradient_norm_of_every_step_equals_trl(trajectories):
    ours, theirs = trajectories
    assert [row["grad_norm"] for row in ours] == pytest.approx([row["grad_norm"] for row in theirs], rel=1e-3)
    assert any(row["grad_norm"] > 1 for row in ours)  # and some of them were clipped


def test_learning_rate_and_rewards_of_every_step_equal_trl(trajectories):
    ours, theirs = trajectories
    for name in ("learning_rate", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
        assert [row[name] for row in ours] == pytest.approx([row[name] for row in theirs], abs=1e-4, rel=1e-4), name
