"""A training trajectory against TRL 1.16's DPOTrainer: same pairs, same order, same optimizer, step by step."""

import pytest

from dpo_notes.language.load import frozen_copy
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo

pytest.importorskip("trl", reason="TRL is the oracle of this file")

import trl
from trl_oracle import new_trainer, order_of, rows_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, at what TRL asks of it
BETA, LEARNING_RATE, BATCH, EPOCHS = 0.1, 1e-3, 8, 17  # 3 steps an epoch of 24 pairs: 51 steps
STEPS = 51


@pytest.fixture(scope="module")
def trajectories(new_tiny_model, tiny_tokenizer, tiny_pairs, tmp_path_factory):
    """(our rows, TRL's rows)."""
    policy = new_tiny_model()
    theirs, reference = new_tiny_model(), frozen_copy(policy)  # made before TRL patches anything
    config = DPOConfig(
        beta=BETA, learning_rate=LEARNING_RATE, batch_size=BATCH, epochs=EPOCHS, warmup_fraction=0.0, eval_samples=0
    )
    ours = list(train_dpo(policy, reference, tiny_pairs, tiny_tokenizer, config))

    encoded = encode_pairs(tiny_tokenizer, tiny_pairs, max_length=96)
    order = order_of(encoded, batch_size=BATCH, epochs=EPOCHS)
    pairs, folder = [tiny_pairs[number] for number in order], tmp_path_factory.mktemp("trl")
    settings = {"beta": BETA, "learning_rate": LEARNING_RATE, "per_device_train_batch_size": BATCH}
    models = {"model": theirs, "ref_model": frozen_copy(theirs)}
    trainer = new_trainer(trl.DPOTrainer, trl.DPOConfig, pairs, tiny_tokenizer, folder, settings=settings, **models)
    columns = ("prompt_ids", "chosen_ids", "rejected_ids")
    tokens = [tuple(tuple(row[name]) for name in columns) for row in trainer.train_dataset]
    assert tokens == [(encoded[number].prompt, encoded[number].chosen, encoded[number].rejected) for number in order]
    return ours, rows_of(trainer)


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
