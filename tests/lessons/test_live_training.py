"""The rows of `train_dpo`, to the last bit, with measurements of held-out pairs in between."""

from dataclasses import replace

import pytest
import torch

from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import response_logps
from dpo_notes.lessons.training_gpt2_with_dpo import live_training
from dpo_notes.lessons.training_gpt2_with_dpo.live_training import live_rows
from dpo_notes.maths.losses import preference_metrics
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.preference_loss import LOSSES

CONFIG = DPOConfig(beta=0.5, learning_rate=1e-3, batch_size=4, epochs=2, max_length=96, cache_reference=False)


@pytest.fixture
def rows(tiny_model, tiny_tokenizer, tiny_pairs, monkeypatch):
    """rows(loss="dpo", **settings): all rows of a run on 16 pairs, with 8 held out, looked at after every third step."""
    monkeypatch.setattr(live_training, "HELD_OUT_BATCH", 3)

    def run(loss="dpo", **settings):
        config = replace(CONFIG, **settings)
        run.policy = frozen_copy(tiny_model).requires_grad_()
        data = (tiny_pairs[:16], tiny_pairs[16:], tiny_tokenizer, config)
        return list(live_rows(run.policy, tiny_model, *data, loss=LOSSES[loss], every=3))

    return run


def trained(rows):
    """The rows of steps, without their speed."""
    return [{k: v for k, v in row.items() if k != "pairs_per_second"} for row in rows if "loss" in row]


def test_the_rows_of_steps_are_those_of_train_dpo_to_the_last_bit(rows, tiny_model, tiny_tokenizer, tiny_pairs):
    """In the first epoch also where the reference's scores are stored: it is asked about the same batches."""
    for config in (CONFIG, replace(CONFIG, epochs=1, cache_reference=True)):
        policy = frozen_copy(tiny_model).requires_grad_()
        theirs = trained(train_dpo(policy, tiny_model, tiny_pairs[:16], tiny_tokenizer, config))
        assert trained(rows(epochs=config.epochs)) == theirs


def test_held_out_pairs_are_looked_at_before_the_first_step_every_few_steps_and_at_the_end(rows):
    found = rows()
    assert [row["step"] for row in found if "eval/logps/chosen" in row] == [0, 3, 6, 8]
    empty_before = [index for index, row in enumerate(found) if not row]
    assert len(empty_before) == 4 * 3  # 8 pairs are three batches of at most 3


def test_a_look_is_what_the_public_functions_say_of_the_policy(rows, tiny_model, tiny_tokenizer, tiny_pairs):
    first, *_, last = [row for row in rows() if "eval/logps/chosen" in row]
    assert all(first[f"eval/rewards/{name}"] == 0 for name in ("chosen", "rejected", "margins", "accuracies"))
    after, before = (response_logps(model, tiny_tokenizer, tiny_pairs[16:]) for model in (rows.policy, tiny_model))
    metrics = preference_metrics(*(now - then for now, then in zip(after, before, strict=True)), beta=0.5)
    assert last["eval/logps/chosen"] == pytest.approx(after[0].mean().item(), rel=1e-5)
    for name, values in metrics.items():
        assert last[f"eval/{name}"] == pytest.approx(values.mean().item(), abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_of_the_command_line_can_be_watched(rows, loss):
    found = rows(loss, epochs=1)
    assert [row["step"] for row in found if "loss" in row] == [1, 2, 3, 4]
    assert torch.tensor([row["loss"] for row in found if "loss" in row]).isfinite().all()
