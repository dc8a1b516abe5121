"""Training the reward model: what its rows mean, what its gradient is; stopping or splitting changes nothing."""

import copy
import dataclasses
import math

import pytest
import torch
from runs import assert_same_end, without_speed
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import GPT2Config, GPT2ForSequenceClassification

from dpo_notes.language.load import fuse_gelu, load_model
from dpo_notes.language.reward_head import load_reward_model, new_reward_model, reward_of
from dpo_notes.maths.bradley_terry import preference_nll, preference_probability
from dpo_notes.maths.calibration import expected_calibration_error, reliability
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import load_pairs
from dpo_notes.training.reward_model import RewardModelConfig, train_reward_model

FAST = {"learning_rate": 1e-3, "warmup_fraction": 0.0, "batch_size": 8}
TRAINING_NAMES = {
    *("step", "epoch", "loss", "grad_norm", "learning_rate", "pairs_per_second"),
    *("rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"),
}
HELD_OUT_NAMES = {
    *("eval/loss", "eval/calibration", "eval/rewards/chosen", "eval/rewards/rejected"),
    *("eval/rewards/margins", "eval/rewards/accuracies"),
}


@pytest.fixture
def new_reward(new_tiny_model, tiny_tokenizer):
    """new_reward(head=0.0): a new (reward model, tokenizer), its head drawn with this standard deviation."""

    def make(*, head: float = 0.0):
        model, tokenizer = new_reward_model(new_tiny_model(), tiny_tokenizer)
        with torch.no_grad():
            model.score.weight.copy_(head * torch.randn(1, 32, generator=torch.Generator().manual_seed(3)))
        return model, tokenizer

    return make


@pytest.fixture
def train(new_reward, tiny_pairs):
    """train(reward=None, …, field=value, …): the rows of a run on the first 16 pairs, from a new model by default."""

    def run(reward=None, *, pairs=tiny_pairs[:16], eval_pairs=None, output_dir=None, resume=False, **settings):
        model, tokenizer = reward or new_reward()
        config = RewardModelConfig(**FAST | settings)
        others = {"eval_pairs": eval_pairs, "output_dir": output_dir, "resume": resume}
        return list(train_reward_model(model, pairs, tokenizer, config, **others))

    return run


def test_rows_have_the_names_that_dpo_users_read_and_count_steps_and_epochs(train, tiny_pairs):
    rows = train(pairs=tiny_pairs[:22], eval_pairs=tiny_pairs[16:], epochs=2, eval_every=2)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if row.keys() >= HELD_OUT_NAMES] == [0, 2, 4, 6]
    assert all(row.keys() - HELD_OUT_NAMES == TRAINING_NAMES for row in rows[1:])
    assert [row["epoch"] for row in rows[1:]] == pytest.approx([1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2])


@pytest.mark.parametrize("settings", [{}, {"precision": "bf16"}, {"batch_size": 2, "accumulation_steps": 4}], ids=str)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_before_any_update_the_loss_is_log_2_and_all_else_is_0(train, new_reward, tiny_pairs, settings, dropout):
    """Exactly: the head is 0. Nobody is held better, so accuracy is 0, and to predict 1/2 throughout is calibrated."""
    model, tokenizer = new_reward()
    rates = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), dropout)
    noisy = GPT2ForSequenceClassification(GPT2Config(**model.config.to_dict() | rates)).train()
    noisy.load_state_dict(model.state_dict())
    start, first, *_ = train((noisy, tokenizer), eval_pairs=tiny_pairs[16:], **settings)
    assert first["loss"] == start["eval/loss"] == pytest.approx(math.log(2), abs=1e-7)
    assert all(start[name] == 0 for name in HELD_OUT_NAMES - {"eval/loss"})
    assert all(first[name] == 0 for name in TRAINING_NAMES if name.startswith("rewards/"))


def test_held_out_metrics_are_those_of_the_rewards_that_the_model_gives_afterwards(train, new_reward, tiny_pairs):
    model, tokenizer = new_reward(head=0.3)
    held_out = tiny_pairs[16:]
    row = train((model, tokenizer), eval_pairs=held_out, batch_size=3)[-1]
    prompts = [pair.prompt for pair in held_out]
    chosen, rejected = (
        reward_of(model, tokenizer, prompts, [getattr(p, s) for p in held_out]) for s in ("chosen", "rejected")
    )
    diagram = reliability(preference_probability(chosen, rejected), n_bins=10)
    assert row["eval/loss"] == pytest.approx(preference_nll(chosen, rejected).mean().item(), rel=1e-5)
    assert row["eval/rewards/chosen"] == pytest.approx(chosen.mean().item(), rel=1e-4)
    assert row["eval/rewards/margins"] == pytest.approx((chosen - rejected).mean().item(), rel=1e-4)
    assert row["eval/rewards/accuracies"] == (chosen > rejected).float().mean().item()
    assert row["eval/calibration"] == pytest.approx(expected_calibration_error(diagram), rel=1e-4)


@pytest.mark.parametrize("split", [(1, 8), (2, 4), (4, 2)], ids=lambda split: f"{split[1]} of {split[0]}")
def test_a_batch_of_8_is_8_accumulated_batches_of_1_at_every_step(train, new_reward, tiny_pairs, split):
    """22 pairs: two steps of 8 and one of 6 in each of two epochs. A batch of 1 has less to be padded for.

    "rewards/chosen" and "rewards/rejected" may drift together: nothing identifies their common level. Its gradient is 0
    but for rounding, which Adam scales to full step size.
    """
    batch_size, accumulation_steps = split
    settings = {"pairs": tiny_pairs[:22], "epochs": 2}
    whole = without_speed(train(new_reward(head=0.3), **settings))
    parts = train(new_reward(head=0.3), **settings, batch_size=batch_size, accumulation_steps=accumulation_steps)
    assert len(whole) == len(parts) == 6
    for one, other in zip(whole, parts, strict=True):
        for name in one.keys() - {"rewards/chosen", "rewards/rejected"}:
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-5), (one["step"], name)


def hidden_at_the_end(model, encoded, side: str) -> torch.Tensor:
    """The last hidden state of each sequence at its last token, one sequence at a time and without padding."""
    sequences = [torch.tensor([[*pair.prompt, *getattr(pair, side)]]) for pair in encoded]
    return torch.stack([model.base_model(input_ids=ids).last_hidden_state[0, -1] for ids in sequences])


def gradient_of_first_step(train, reward, pairs, folder) -> dict[str, torch.Tensor]:
    """Adam's first moment after one unclipped step is a tenth of the gradient, and the checkpoint holds it."""
    train(reward, pairs=pairs, max_grad_norm=1e9, output_dir=folder)
    state = load_file(folder / "checkpoint/step-00000001/state.safetensors")
    return {name.removesuffix("/exp_avg"): 10 * value for name, value in state.items() if name.endswith("/exp_avg")}


def test_the_first_gradient_moves_the_head_by_half_the_mean_difference_of_hidden_states(
    train, new_reward, tiny_pairs, tmp_path
):
    """At margin 0: d loss / d w = -sigma(0) * mean of (h_w - h_l) = -1/2 mean of (h_w - h_l).

    To the trunk the gradient comes through w, which is 0: the trunk is not moved by this step.
    """
    model, tokenizer = new_reward()
    start = copy.deepcopy(model)
    gradient = gradient_of_first_step(train, (model, tokenizer), tiny_pairs[:8], tmp_path / "run")
    encoded = encode_pairs(tokenizer, tiny_pairs[:8], max_length=96)
    with torch.no_grad():
        difference = hidden_at_the_end(start, encoded, "chosen") - hidden_at_the_end(start, encoded, "rejected")
    torch.testing.assert_close(gradient["score.weight"][0], -difference.mean(0) / 2, rtol=1e-4, atol=1e-5)
    assert gradient.keys() > {"score.weight"}
    assert all(not value.any() for name, value in gradient.items() if name != "score.weight")


def test_the_gradient_is_autograds_through_a_binary_cross_entropy_on_single_sequences(
    train, new_reward, tiny_pairs, tmp_path
):
    model, tokenizer = new_reward(head=0.3)
    start = copy.deepcopy(model)
    gradient = gradient_of_first_step(train, (model, tokenizer), tiny_pairs[:8], tmp_path / "run")
    encoded = encode_pairs(tokenizer, tiny_pairs[:8], max_length=96)
    chosen, rejected = (start.score(hidden_at_the_end(start, encoded, side))[:, 0] for side in ("chosen", "rejected"))
    loss = binary_cross_entropy_with_logits(chosen - rejected, torch.ones(8))
    names, parameters = zip(*start.named_parameters(), strict=True)
    expected = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    norm = torch.stack([value.norm() for value in expected.values()]).norm()
    assert gradient.keys() == expected.keys()
    for name, value in expected.items():
        assert (gradient[name] - value).norm() <= 1e-4 * norm, name


def test_training_on_the_embedded_world_lowers_the_loss():
    """64 comparisons four times over: from log 2 = 0.693 to below 0.6, and the chosen get the higher rewards."""
    model, tokenizer = new_reward_model(*load_model())
    config = RewardModelConfig(learning_rate=1e-3, epochs=4, batch_size=16, max_length=128)
    rows = list(train_reward_model(model, load_pairs("embedded")[:64], tokenizer, config))
    assert rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert sum(row["loss"] for row in rows[-4:]) / 4 < 0.6
    assert sum(row["rewards/margins"] for row in rows[-4:]) / 4 > 0.3


SETTINGS = {"batch_size": 2, "epochs": 2, "eval_every": 5, "checkpoint_every": 4}  # 16 steps


def test_a_run_that_was_left_and_resumed_is_the_uninterrupted_run_bit_by_bit(train, new_reward, tiny_pairs, tmp_path):
    """Left after step 6, two steps past a checkpoint; its rows past that are dropped and written again."""
    train(eval_pairs=tiny_pairs[16:], output_dir=tmp_path / "whole", **SETTINGS)
    others = {"eval_pairs": tiny_pairs[16:], "output_dir": tmp_path / "left"}
    rows = train_reward_model(
        new_reward()[0], tiny_pairs[:16], new_reward()[1], RewardModelConfig(**FAST | SETTINGS), **others
    )
    while next(rows)["step"] < 6:
        pass
    rows.close()
    resumed = train(resume=True, **others, **SETTINGS)
    assert [row["step"] for row in resumed] == list(range(5, 17))
    assert_same_end(tmp_path / "left", tmp_path / "whole")


def test_the_same_seed_twice_is_equal_bit_by_bit_and_another_seed_is_not(train, tiny_pairs):
    first, second, other = (without_speed(train(epochs=2, eval_pairs=tiny_pairs[16:], seed=seed)) for seed in (0, 0, 1))
    assert first == second
    assert first != other


def test_a_checkpoint_of_another_run_is_refused(train, new_reward, tiny_pairs, tmp_path):
    train(output_dir=tmp_path, **SETTINGS)
    with pytest.raises(InputError, match="another run: batch_size was 2 and is now 4"):
        train(output_dir=tmp_path, resume=True, **SETTINGS | {"batch_size": 4})
    with pytest.raises(InputError, match="another run: pairs was"):
        train(output_dir=tmp_path, resume=True, pairs=tiny_pairs[1:17], **SETTINGS)
    with pytest.raises(InputError, match="holds a run already"):
        train(output_dir=tmp_path, **SETTINGS)


def test_the_models_folder_gives_the_rewards_of_the_trained_model(train, new_reward, tiny_pairs, tmp_path):
    model, tokenizer = new_reward(head=0.3)
    fuse_gelu(model)  # as loading does
    train((model, tokenizer), output_dir=tmp_path / "run", epochs=2)
    texts = [pair.prompt for pair in tiny_pairs], [pair.chosen for pair in tiny_pairs]
    rewards = reward_of(model, tokenizer, *texts)
    assert rewards.std() > 0.1
    assert torch.equal(reward_of(*load_reward_model(tmp_path / "run/model"), *texts), rewards)


def test_what_cannot_be_trained_is_refused_before_anything_is_written(train, tiny_model, tiny_tokenizer, tmp_path):
    with pytest.raises(InputError, match="no pairs to train on"):
        train(pairs=[], output_dir=tmp_path / "run")
    with pytest.raises(InputError, match="GPT2LMHeadModel has no reward head"):
        train((tiny_model, tiny_tokenizer), output_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("learning_rate", 0.0), ("max_grad_norm", math.inf), ("warmup_fraction", 1.0), ("weight_decay", -0.1)),
        *(("epochs", 0), ("batch_size", 0), ("accumulation_steps", 0), ("max_length", 1), ("eval_every", -1)),
        *(("checkpoint_every", -1), ("seed", 2**32), ("precision", "half")),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line_that_names_it(field, value):
    with pytest.raises(InputError, match=rf"^{field}.* is {value!r}; expected .*$".replace("+", r"\+")):
        RewardModelConfig(**{field: value})


def test_every_setting_is_among_the_refusals_and_there_are_at_most_16():
    (mark,) = test_a_value_out_of_range_is_refused_in_one_line_that_names_it.pytestmark
    names = [field.name for field in dataclasses.fields(RewardModelConfig)]
    assert set(names) == {field for field, _ in mark.args[1]}
    assert len(names) <= 16
