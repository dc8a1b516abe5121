"""Supervised fine-tuning: the loss of a step, where its minimum lies; stopping or splitting changes nothing."""

import copy
import dataclasses
import math

import pytest
import torch
from runs import assert_same_end, without_speed
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dpo_notes.language.score import response_logps
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.sft import SFTConfig, train_sft
from dpo_notes.worlds.reviews import world as reviews

FAST = {"learning_rate": 1e-3, "warmup_fraction": 0.0, "batch_size": 8, "eval_samples": 0}
TRAINING_NAMES = {"step", "epoch", "loss", "logps/chosen", "grad_norm", "learning_rate", "pairs_per_second"}


@pytest.fixture
def train(new_tiny_model, tiny_tokenizer, tiny_pairs):
    """train(model=None, …, field=value, …): the rows of a run on the first 16 pairs, from the tiny model by default."""

    def run(
        model=None, *, pairs=tiny_pairs[:16], eval_pairs=None, judge=None, output_dir=None, resume=False, **settings
    ):
        others = {"eval_pairs": eval_pairs, "judge": judge, "output_dir": output_dir, "resume": resume}
        config = SFTConfig(**FAST | settings)
        return list(train_sft(model or new_tiny_model(), pairs, tiny_tokenizer, config, **others))

    return run


def test_rows_have_their_names_and_count_steps_and_epochs(train, tiny_pairs):
    rows = train(pairs=tiny_pairs[:22], eval_pairs=tiny_pairs[16:], epochs=2, eval_every=2)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if row.keys() >= {"eval/loss", "eval/logps/chosen"}] == [0, 2, 4, 6]
    assert all(row.keys() - {"eval/loss", "eval/logps/chosen"} == TRAINING_NAMES for row in rows[1:])


def test_the_loss_of_all_pairs_at_once_is_the_mean_over_their_response_tokens(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs
):
    """Against the public scores. The mean over responses of their own means is another number: lengths differ."""
    model = new_tiny_model()
    with torch.no_grad():
        logps, _ = response_logps(model, tiny_tokenizer, tiny_pairs[:8])
    lengths = torch.tensor([len(pair.chosen) for pair in encode_pairs(tiny_tokenizer, tiny_pairs[:8], max_length=96)])
    (row,) = train(model, pairs=tiny_pairs[:8])
    assert row["loss"] == pytest.approx((-logps.sum() / lengths.sum()).item(), rel=1e-6)
    assert row["logps/chosen"] == pytest.approx(logps.mean().item(), rel=1e-6)
    assert abs(row["loss"] - (-logps / lengths).mean().item()) > 0.01


def test_every_token_of_an_epoch_counts_alike_although_steps_hold_responses_of_like_length(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs
):
    """Two steps of 8, hardly any learning. The mean of each step's own mean would be another number."""
    model = new_tiny_model()
    with torch.no_grad():
        logps, _ = response_logps(model, tiny_tokenizer, tiny_pairs[:16])
    tokens = sum(len(pair.chosen) for pair in encode_pairs(tiny_tokenizer, tiny_pairs[:16], max_length=96))
    rows = train(model, learning_rate=1e-12)
    assert sum(row["loss"] for row in rows) / 2 == pytest.approx((-logps.sum() / tokens).item(), rel=1e-5)


def labelled(tokenizer, pairs) -> dict[str, torch.Tensor]:
    """input_ids and labels as transformers takes them: -100 where nothing is to be learnt."""
    encoded = encode_pairs(tokenizer, pairs, max_length=96)
    longest = max(len(pair.prompt) + len(pair.chosen) for pair in encoded)
    input_ids, labels = torch.zeros(len(pairs), longest, dtype=torch.long), torch.full((len(pairs), longest), -100)
    for row, pair in enumerate(encoded):
        start, end = len(pair.prompt), len(pair.prompt) + len(pair.chosen)
        input_ids[row, :end] = torch.tensor(pair.prompt + pair.chosen)
        labels[row, start:end] = torch.tensor(pair.chosen)
    return {"input_ids": input_ids, "labels": labels}


def test_loss_and_gradient_are_those_of_the_masked_cross_entropy_of_transformers(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs, tmp_path
):
    """Adam's first moment after one unclipped step is a tenth of the gradient, and the checkpoint holds it."""
    model = new_tiny_model()
    loss = model(**labelled(tiny_tokenizer, tiny_pairs[:8])).loss
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradient = torch.autograd.grad(loss, parameters)
    norm = torch.stack([g.norm() for g in gradient]).norm().item()
    (row,) = train(model, pairs=tiny_pairs[:8], max_grad_norm=1e9, output_dir=tmp_path / "run")
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-4)
    state = load_file(tmp_path / "run/checkpoint/step-00000001/state.safetensors")
    for name, expected in zip(names, gradient, strict=True):
        assert (state[f"{name}/exp_avg"] * 10 - expected).norm() <= 1e-4 * norm, name


def test_a_model_that_knows_nothing_pays_log_of_the_vocabulary_a_token(train, new_tiny_model, tiny_pairs):
    model = new_tiny_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    row = train(model, eval_pairs=tiny_pairs[16:])[0]
    assert row["eval/loss"] == pytest.approx(math.log(400), rel=1e-6)


@pytest.mark.parametrize("split", [(1, 8), (2, 4), (4, 2)], ids=lambda split: f"{split[1]} of {split[0]}")
def test_a_batch_of_8_is_8_accumulated_batches_of_1_at_every_step(train, tiny_pairs, split):
    """Although the parts hold different numbers of tokens: each counts for as many as it holds."""
    batch_size, accumulation_steps = split
    whole = without_speed(train(pairs=tiny_pairs[:22], epochs=2))
    parts = train(pairs=tiny_pairs[:22], epochs=2, batch_size=batch_size, accumulation_steps=accumulation_steps)
    assert len(whole) == len(parts) == 6
    for one, other in zip(whole, parts, strict=True):
        for name in one:
            assert other[name] == pytest.approx(one[name], rel=1e-5, abs=1e-5), (one["step"], name)


def test_rejected_responses_play_no_part(train, tiny_pairs):
    exchanged = [PreferencePair(pair.prompt, pair.chosen, " Never.") for pair in tiny_pairs[:16]]
    assert without_speed(train()) == without_speed(train(pairs=exchanged))


def test_the_optimum_is_the_data_distribution_and_its_loss_the_entropy(train, new_tiny_model, tiny_tokenizer):
    """One prompt, answered " In France." in three cases of four, else " No idea."; both end, so both are learnt whole.

    Entropy of a response: -3/4 log 3/4 - 1/4 log 1/4 = 0.5623 nats, spread over the tokens of the data. No model pays
    less; this one comes within two hundredths of a nat, and gives the two answers their shares.
    """
    common, rare = (PreferencePair("Where is Paris?", answer, " -") for answer in (" In France.", " No idea."))
    pairs = [common, common, common, rare]
    model = new_tiny_model()
    rows = train(model, pairs=pairs * 2, epochs=200, learning_rate=1e-2)
    tokens = [len(pair.chosen) for pair in encode_pairs(tiny_tokenizer, pairs, max_length=96)]
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert rows[0]["loss"] > 3
    assert 0 <= -rows[-1]["logps/chosen"] - entropy < 0.02
    assert rows[-1]["loss"] == pytest.approx(entropy / (sum(tokens) / 4), abs=0.01)
    with torch.no_grad():
        logps, _ = response_logps(model, tiny_tokenizer, [common, rare])
    assert logps.exp().tolist() == pytest.approx([0.75, 0.25], abs=0.02)


def test_held_out_metrics_are_means_over_tokens_and_responses_in_any_batches(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs
):
    model, held_out = new_tiny_model(), tiny_pairs[16:23]
    row = train(model, eval_pairs=held_out, batch_size=4)[-1]
    with torch.no_grad():
        logps, _ = response_logps(model, tiny_tokenizer, held_out)
    tokens = sum(len(pair.chosen) for pair in encode_pairs(tiny_tokenizer, held_out, max_length=96))
    assert row["eval/loss"] == pytest.approx((-logps.sum() / tokens).item(), rel=1e-5)
    assert row["eval/logps/chosen"] == pytest.approx(logps.mean().item(), rel=1e-5)


def test_the_model_is_compared_with_itself_as_it_came(train, tiny_pairs):
    rows = train(eval_pairs=tiny_pairs[16:], judge=reviews.judge, eval_samples=4, epochs=4)
    assert rows[0]["eval/kl"] == rows[0]["eval/kl_error"] == 0
    assert rows[-1]["eval/kl"] > 0.1
    assert rows[-1].keys() >= {"eval/length", "eval/reward", "eval/grammatical"}


SETTINGS = {"batch_size": 2, "epochs": 2, "eval_every": 5, "eval_samples": 4, "checkpoint_every": 4}  # 16 steps


def test_a_run_that_was_left_and_resumed_is_the_uninterrupted_run_bit_by_bit(
    train, new_tiny_model, tiny_tokenizer, tiny_pairs, tmp_path
):
    """Left after step 6, two steps past a checkpoint; its rows past that are dropped and written again."""
    train(eval_pairs=tiny_pairs[16:], output_dir=tmp_path / "whole", **SETTINGS)
    others = {"eval_pairs": tiny_pairs[16:], "output_dir": tmp_path / "left"}
    rows = train_sft(new_tiny_model(), tiny_pairs[:16], tiny_tokenizer, SFTConfig(**FAST | SETTINGS), **others)
    while next(rows)["step"] < 6:
        pass
    rows.close()
    resumed = train(resume=True, **others, **SETTINGS)
    assert [row["step"] for row in resumed] == list(range(5, 17))
    assert_same_end(tmp_path / "left", tmp_path / "whole")


def test_a_checkpoint_of_another_run_is_refused(train, new_tiny_model, tiny_pairs, tmp_path):
    others = {"output_dir": tmp_path, "eval_pairs": tiny_pairs[16:]} | SETTINGS
    train(**others)
    with pytest.raises(InputError, match="another run: learning_rate was 0.001 and is now 0.01"):
        train(resume=True, **others | {"learning_rate": 0.01})
    with pytest.raises(InputError, match="another run: start was"):  # its KL would be another
        train(new_tiny_model(seed=5), resume=True, **others)


def test_dropout_is_off_and_the_trained_model_loads_elsewhere(train, new_tiny_model, tmp_path):
    noisy = copy.deepcopy(new_tiny_model()).train()
    for module in noisy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    assert without_speed(train(noisy, output_dir=tmp_path / "run")) == without_speed(train())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "run/model")
    assert torch.equal(loaded.lm_head.weight, noisy.lm_head.weight)


def test_without_pairs_there_is_nothing_to_train_on(train, tmp_path):
    with pytest.raises(InputError, match="no pairs to train on"):
        train(pairs=[], output_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("learning_rate", 0.0), ("max_grad_norm", math.inf), ("warmup_fraction", 1.0), ("weight_decay", -0.1)),
        *(("epochs", 0), ("batch_size", 0), ("accumulation_steps", 0), ("max_length", 1), ("eval_every", -1)),
        *(("eval_samples", -1), ("checkpoint_every", -1), ("seed", 2**32), ("precision", "half")),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line_that_names_it(field, value):
    with pytest.raises(InputError) as error:
        SFTConfig(**{field: value})
    assert str(error.value).startswith(field)
    assert "expected" in str(error.value) and "\n" not in str(error.value)


def test_every_setting_is_among_the_refusals_and_there_are_at_most_16():
    (mark,) = test_a_value_out_of_range_is_refused_in_one_line_that_names_it.pytestmark
    names = [field.name for field in dataclasses.fields(SFTConfig)]
    assert set(names) == {field for field, _ in mark.args[1]}
    assert len(names) <= 16
