"""The reward model's training against TRL 1.16's RewardTrainer: same pairs, order and optimizer, step by step."""

import pytest
import torch

from dpo_notes.language.reward_head import new_reward_model, reward_of
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.reward_model import RewardModelConfig, train_reward_model

pytest.importorskip("trl", reason="TRL is the oracle of this file")

import trl
from trl_oracle import new_trainer, order_of, rows_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, at what TRL asks of it
LEARNING_RATE, BATCH, EPOCHS = 1e-3, 8, 5  # 3 steps an epoch of 24 pairs: 15 steps


@pytest.fixture(scope="module")
def trajectories(new_tiny_model, tiny_tokenizer, tiny_pairs, tmp_path_factory):
    """(our rows, TRL's rows, TRL's model, ours with its tokenizer)."""
    (ours, tokenizer), (theirs, _) = (new_reward_model(new_tiny_model(), tiny_tokenizer) for _ in range(2))
    for model in (ours, theirs):
        with torch.no_grad():
            model.score.weight.copy_(0.3 * torch.randn(1, 32, generator=torch.Generator().manual_seed(3)))
    config = RewardModelConfig(learning_rate=LEARNING_RATE, batch_size=BATCH, epochs=EPOCHS, warmup_fraction=0.0)
    rows = list(train_reward_model(ours, tiny_pairs, tokenizer, config))

    encoded = encode_pairs(tokenizer, tiny_pairs, max_length=96)
    order = order_of(encoded, batch_size=BATCH, epochs=EPOCHS)
    pairs, folder = [tiny_pairs[number] for number in order], tmp_path_factory.mktemp("trl")
    settings = {"learning_rate": LEARNING_RATE, "per_device_train_batch_size": BATCH}
    trainer = new_trainer(
        trl.RewardTrainer, trl.RewardConfig, pairs, tokenizer, folder, settings=settings, model=theirs
    )
    tokens = [(tuple(row["chosen_ids"]), tuple(row["rejected_ids"])) for row in trainer.train_dataset]
    assert tokens == [
        (encoded[number].prompt + encoded[number].chosen, encoded[number].prompt + encoded[number].rejected)
        for number in order
    ]
    return rows, rows_of(trainer), theirs, (ours, tokenizer)


def test_loss_and_gradient_norm_of_every_step_equal_trl(trajectories):
    rows, logged, _, _ = trajectories
    assert len(rows) == len(logged) == 15
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in logged], rel=1e-4)
    assert [row["grad_norm"] for row in rows] == pytest.approx([row["grad_norm"] for row in logged], rel=1e-3)
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_accuracy_and_margin_of_every_step_equal_trl(trajectories):
    rows, logged, _, _ = trajectories
    for ours, theirs in (("rewards/accuracies", "accuracy"), ("rewards/margins", "margin"), ("learning_rate",) * 2):
        assert [row[ours] for row in rows] == pytest.approx([row[theirs] for row in logged], abs=1e-4, rel=1e-4)


def test_both_end_with_the_same_margins(trajectories, tiny_pairs):
    """Ours with our code, TRL's with the code of transformers, which finds the end by the padding id."""
    _, _, theirs, (ours, tokenizer) = trajectories
    prompts = [pair.prompt for pair in tiny_pairs]
    sides = [[getattr(pair, side) for pair in tiny_pairs] for side in ("chosen", "rejected")]
    margins = torch.sub(*(reward_of(ours, tokenizer, prompts, side) for side in sides))

    def reward(texts: list[str]) -> torch.Tensor:
        texts = [prompt + text + tokenizer.eos_token for prompt, text in zip(prompts, texts, strict=True)]
        with torch.no_grad():
            return theirs.eval()(**tokenizer(texts, padding=True, return_tensors="pt")).logits[:, 0]

    torch.testing.assert_close(torch.sub(*map(reward, sides)), margins, rtol=1e-3, atol=1e-3)
