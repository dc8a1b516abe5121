"""The DPO loop: what its rows mean, what it feeds a loss, and when it stops."""

import copy
import math

import pytest
import torch

from dpo_notes.language.load import frozen_copy
from dpo_notes.language.score import response_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.order import epoch_steps
from dpo_notes.training.preference_loss import PreferenceLoss
from dpo_notes.training.step import TrainingDiverged
from dpo_notes.worlds.reviews import world as reviews

pytest_plugins = ["run_fixtures"]

TRAINING_NAMES = {
    *("step", "epoch", "loss", "grad_norm", "learning_rate", "pairs_per_second"),
    *("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected"),
}


def steps_of(encoded: list, *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
    """The pair numbers of each step of 8."""
    lengths = [len(pair) for pair in encoded]
    steps = epoch_steps(lengths, batch_size=8, accumulation_steps=1, processes=1, seed=seed, epoch=epoch)
    return [microbatch for (microbatch,) in steps]


def test_rows_have_the_names_of_the_public_contract_and_count_steps_and_epochs(train, tiny_pairs):
    rows = train(pairs=tiny_pairs[:22], epochs=2)
    assert all(row.keys() == TRAINING_NAMES for row in rows)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in rows] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])
    assert all(isinstance(value, int | float) for row in rows for value in row.values())
    assert all(row["pairs_per_second"] > 0 for row in rows)


def test_learning_rate_warms_up_over_its_share_of_all_steps(train):
    """4 steps, half of them warm-up: 1/2, 1, 1, 1/2 of the peak."""
    rows = train(epochs=2, warmup_fraction=0.5, learning_rate=0.004)
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.002, 0.004, 0.004, 0.002])


def test_evaluations_come_first_as_often_as_asked_and_last(train, tiny_pairs):
    rows = train(eval_pairs=tiny_pairs[16:], judge=reviews.judge, epochs=3, eval_every=2, eval_samples=2)  # 6 steps
    assert [row["step"] for row in rows if "eval/loss" in row] == [0, 2, 4, 6]
    assert rows[0].keys() >= {"eval/kl", "eval/kl_error", "eval/length", "eval/reward", "eval/grammatical"}
    assert "loss" not in rows[0]
    rows = train(eval_pairs=tiny_pairs[16:], epochs=3)
    assert [row["step"] for row in rows if "eval/loss" in row] == [0, 6]
    assert not any(name.startswith("eval/k") for row in rows for name in row)  # eval_samples is 0


def test_held_out_metrics_are_means_over_pairs_in_any_batches(train, tiny_tokenizer, tiny_pairs, new_tiny_model):
    """Against the public scores of policy and reference after training, and with batches of another size."""
    policy, reference, held_out = new_tiny_model(), new_tiny_model(), tiny_pairs[16:23]
    last = train(policy, reference=reference, eval_pairs=held_out, beta=0.4, batch_size=4)[-1]
    other = train(eval_pairs=held_out, beta=0.4, batch_size=2, accumulation_steps=2)[-1]
    with torch.no_grad():
        now, then = (response_logps(model, tiny_tokenizer, held_out) for model in (policy, reference))
    logratios = [policy_logps - logps for policy_logps, logps in zip(now, then, strict=True)]
    assert last["eval/loss"] == pytest.approx(dpo_loss(*logratios, beta=0.4).mean().item(), rel=1e-5)
    assert last["eval/rewards/chosen"] == pytest.approx(0.4 * logratios[0].mean().item(), rel=1e-4)
    assert last["eval/rewards/accuracies"] == pytest.approx((logratios[0] > logratios[1]).float().mean().item())
    assert last["eval/logps/rejected"] == pytest.approx(now[1].mean().item(), rel=1e-5)
    for name in (name for name in last if name.startswith("eval/")):
        assert other[name] == pytest.approx(last[name], rel=1e-4, abs=1e-5), name


def test_training_raises_margins_moves_the_policy_and_leaves_the_reference_alone(train, new_tiny_model, tiny_pairs):
    policy = new_tiny_model()
    reference = frozen_copy(policy)
    before = copy.deepcopy(reference.state_dict())
    rows = train(policy, reference=reference, epochs=10, eval_pairs=tiny_pairs[:8], eval_samples=8)
    assert rows[-1]["loss"] < 0.3
    assert rows[-1]["rewards/margins"] > 1
    assert rows[-1]["eval/rewards/accuracies"] == 1
    assert rows[-1]["eval/kl"] > 3 * rows[-1]["eval/kl_error"] > 0
    after = reference.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(before["lm_head.weight"], policy.lm_head.weight)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("with_reference", [True, False])
def test_a_loss_written_by_the_reader_gets_what_it_says_that_it_is_fed(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs, reduction, with_reference
):
    """Log-ratios, or without a reference the policy's own log-probabilities, which a loss like SimPO takes."""
    policy, reference = new_tiny_model(0), new_tiny_model(1).requires_grad_(False) if with_reference else None
    seen = []

    def my_loss(chosen, rejected, *, beta):
        seen.append((chosen.detach(), rejected.detach()))
        return torch.nn.functional.softplus(0.5 - beta * (chosen - rejected))

    loss = PreferenceLoss(my_loss, reduction=reduction, needs_reference=with_reference)
    encoded = encode_pairs(tiny_tokenizer, tiny_pairs[:8], max_length=96)
    models = (policy, reference) if with_reference else (policy,)
    with torch.no_grad():
        logps = [response_logps(model, tiny_tokenizer, tiny_pairs[:8]) for model in models]
    (row,) = train(policy, reference=reference, pairs=tiny_pairs[:8], loss=loss, beta=0.02)
    (order,) = steps_of(encoded)
    for side, name in enumerate(("chosen", "rejected")):
        expected = logps[0][side] - (logps[1][side] if with_reference else 0)
        if reduction == "mean":
            expected = expected / torch.tensor([len(getattr(pair, name)) for pair in encoded])
        torch.testing.assert_close(seen[0][side], expected[order], rtol=1e-4, atol=1e-4)
    by_hand = torch.log1p(torch.exp(0.5 - 0.02 * (seen[0][0] - seen[0][1]))).mean().item()
    assert row["loss"] == pytest.approx(by_hand, rel=1e-5)


def test_the_last_smaller_step_is_the_mean_over_its_own_pairs(train, new_tiny_model, tiny_pairs):
    """11 pairs: 8, and 3. A loss that counts: 1 for each pair, so every step has mean 1, whatever its size."""

    def ones(chosen, rejected, *, beta):
        return torch.ones_like(chosen) + 0 * (chosen - rejected)

    rows = train(pairs=tiny_pairs[:11], loss=ones, batch_size=2, accumulation_steps=4)
    assert [row["loss"] for row in rows] == pytest.approx([1, 1])


def test_a_run_that_is_left_early_leaves_the_model_usable(start, tiny_model):
    policy = tiny_model.train()
    rows = start(policy)
    next(rows)
    rows.close()
    assert not policy.training
    assert not policy.lm_head._forward_pre_hooks
    assert all(parameter.grad is None for parameter in policy.parameters())


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_pairs(
    start, tiny_model, tiny_tokenizer, tiny_pairs, tmp_path
):
    """NaN at the third of four steps: weights as after the second, both its checkpoint and its rows kept, none more."""
    policy, calls = tiny_model, []

    def broken(chosen, rejected, *, beta):
        calls.append(len(chosen))
        loss = dpo_loss(chosen, rejected, beta=beta)
        return loss * math.nan if len(calls) == 3 else loss

    rows = start(policy, epochs=2, checkpoint_every=2, loss=broken, output_dir=tmp_path / "run")
    next(rows), next(rows)
    before = copy.deepcopy(policy.state_dict())
    third = sorted(steps_of(encode_pairs(tiny_tokenizer, tiny_pairs[:16], max_length=96), epoch=1)[0])
    with pytest.raises(TrainingDiverged) as error:
        next(rows)
    held = "; ".join(f"pair {number + 1}" for number in third)
    assert str(error.value) == f"step 3: loss nan, gradient norm nan; the update was not made; the step held {held}"
    after = policy.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [path.name for path in (tmp_path / "run/checkpoint").iterdir()] == ["step-00000002"]
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2
    assert next(rows, "over") == "over"


def test_a_reference_that_is_the_policy_itself_is_refused(train, tiny_model):
    """It would learn along, and every margin and every KL would stay 0."""
    with pytest.raises(InputError, match=r"the policy itself.*frozen_copy"):
        train(tiny_model, reference=tiny_model)


def test_no_pairs_are_refused(train):
    with pytest.raises(InputError, match=r"no pairs.*at least one"):
        train(pairs=[])


def test_without_a_folder_nothing_is_written(train, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(checkpoint_every=1)
    assert list(tmp_path.iterdir()) == []


def test_pairs_longer_than_the_context_are_cut_to_it_with_a_warning(train):
    """The tiny model takes 96 tokens; max_length asks for 512."""
    long = PreferencePair("Where is Paris? " * 100, " In France.", " In Spain.")
    with pytest.warns(UserWarning, match=r"longer than 96 tokens: 1 of 1 prompts"):
        (row,) = train(pairs=[long])
    assert row["loss"] == pytest.approx(math.log(2))
