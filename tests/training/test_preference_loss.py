"""Every loss is fed what it is defined on, by whichever door it comes: its name, its function, or one of the reader's."""

import math
from functools import partial

import pytest
import torch
from scipy.special import expit, log_expit, logit, rel_entr

import dpo_notes
from dpo_notes.cli import main
from dpo_notes.language.load import frozen_copy, load_model
from dpo_notes.language.score import response_logps
from dpo_notes.maths import loss_family
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import dpo_loss
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.training.preference_loss import LOSSES, PreferenceLoss, cpo_with_nll, preference_loss

pytest_plugins = ["run_fixtures"]
BETA = 0.5


def discopop(w: float, l: float) -> float:
    share = expit(BETA * (w - l) / 0.05)
    return (1 - share) * nll(BETA * (w - l)) + math.exp(math.log(max(share, 1e-300)) - BETA * (w - l))


def exo(w: float, l: float) -> float:
    q, e = expit(BETA * (w - l)), 0.001
    return rel_entr(q, 1 - e) + rel_entr(1 - q, e)


def nll(margin: float) -> float:
    return -log_expit(margin)


# One pair, in scipy's words: w and l are what the chosen and the rejected side are fed.
BY_HAND = {
    "dpo": lambda w, l: nll(BETA * (w - l)),
    "cdpo": lambda w, l: 0.9 * nll(BETA * (w - l)) + 0.1 * nll(BETA * (l - w)),
    "robust": lambda w, l: (0.9 * nll(BETA * (w - l)) - 0.1 * nll(BETA * (l - w))) / 0.8,
    "ipo": lambda w, l: (w - l - 1 / (2 * BETA)) ** 2,
    "hinge": lambda w, l: max(0.0, 1 - BETA * (w - l)),
    "exo": exo,
    "nca": lambda w, l: nll(BETA * w) + (nll(-BETA * w) + nll(-BETA * l)) / 2,
    "bco": lambda w, l: nll(BETA * w) + nll(-BETA * l),
    "sppo": lambda w, l: (w - 1 / (2 * BETA)) ** 2 + (l + 1 / (2 * BETA)) ** 2,
    "aot": lambda w, l: nll(BETA * (w - l)),  # of one pair: nothing to sort
    "apo-zero": lambda w, l: 1 - expit(BETA * w) + expit(BETA * l),
    "apo-down": lambda w, l: expit(BETA * w) + 1 - expit(BETA * (w - l)),
    "discopop": discopop,
    "dpop": lambda w, l: nll(BETA * (w - l - 50 * max(0.0, -w))),
    "simpo": lambda w, l: nll(BETA * (w - l) - 0.5),
    "orpo": lambda w, l: -w + BETA * nll(logit(math.exp(w)) - logit(math.exp(l))),
    "cpo": lambda w, l: nll(BETA * (w - l)) - w,
}  # fmt: skip
MEANS, ALONE = {"ipo", "simpo", "orpo"}, {"simpo", "orpo", "cpo"}  # fed per-token means; defined without a reference
NAMED_OTHERWISE = {"dpo", "cdpo"}  # settings of dpo_loss, which is in maths/losses.py


@pytest.fixture
def one_pair(new_tiny_model, tiny_tokenizer, tiny_pairs):
    """(policy, reference, the pair, what a loss is fed of it): away from the reference."""
    policy, reference = new_tiny_model(0), frozen_copy(new_tiny_model(1))
    (pair,) = encode_pairs(tiny_tokenizer, tiny_pairs[:1], max_length=96)
    lengths = torch.tensor([len(pair.chosen), len(pair.rejected)])
    logps = [torch.cat(response_logps(model, tiny_tokenizer, tiny_pairs[:1])).detach() for model in (policy, reference)]

    def fed(name: str) -> list[float]:
        values = logps[0] - (0 if name in ALONE else logps[1])
        return (values / (lengths if name in MEANS else 1)).tolist()

    return policy, reference, tiny_pairs[:1], fed


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_has_its_value_through_every_door(train, one_pair, name):
    """Its name, its entry and its function: the first loss of a run, and the value of an independent formula."""
    assert name in BY_HAND, (
        f"{name} has no formula in BY_HAND: add it there, in tests/training/test_preference_loss.py; "
        "and its name to MEANS if it is fed means, to ALONE if it has no reference"
    )
    policy, reference, pairs, fed = one_pair
    loss = LOSSES[name]
    firsts = []
    for door in (name, loss, loss.function):
        own = frozen_copy(policy).requires_grad_()
        rows = train(own, reference=reference if loss.needs_reference else None, pairs=pairs, loss=door, beta=BETA)
        firsts.append(rows[0]["loss"])
        assert rows[0]["grad_norm"] > 0 and not torch.equal(own.lm_head.weight, policy.lm_head.weight)
    assert firsts[0] == firsts[1] == firsts[2]
    assert firsts[0] == pytest.approx(BY_HAND[name](*fed(name)), rel=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_a_reference_too_many_or_too_few_is_refused_before_the_first_row(start, tiny_model, name):
    wrong = None if LOSSES[name].needs_reference else "a copy"
    with pytest.raises(
        InputError, match="a reference; expected " + ("a frozen copy" if wrong is None else "reference=None")
    ):
        start(tiny_model, reference=wrong, loss=name)


@pytest.mark.parametrize(
    ("given", "entry"),
    [
        (loss_family.simpo_loss, "simpo"),
        (partial(loss_family.simpo_loss, gamma=1.0), "simpo"),
        (partial(partial(loss_family.ipo_loss)), "ipo"),
        (loss_family.cpo_loss, "cpo"),
        (dpo_loss, "dpo"),
        (lambda chosen, rejected, *, beta: chosen - rejected, "dpo"),
    ],
)
def test_a_function_is_fed_as_its_entry_says_and_a_readers_own_gets_summed_log_ratios(given, entry):
    found = preference_loss(given)
    assert found.function is given
    assert (found.reduction, found.needs_reference) == (LOSSES[entry].reduction, LOSSES[entry].needs_reference)


def test_the_family_and_the_names_are_the_same():
    """All but KTO, which takes single examples and a baseline. my_own_loss is called my-own."""
    family = [name for name in loss_family.__all__ if name.endswith("_loss") and name != "kto_loss"]
    called = {name: name.removesuffix("_loss").replace("_", "-") for name in family}
    unlisted = LOSSES.keys() - called.values() - NAMED_OTHERWISE
    lacking = [
        *(f"{name} has no line {short!r} in LOSSES (preference_loss.py)" for name, short in called.items() if short not in LOSSES),
        *(f"{short!r} is in LOSSES; its function is not in __all__ of loss_family.py under that name" for short in unlisted),
    ]  # fmt: skip
    assert not lacking, "\n".join(lacking)


def test_cpo_adds_the_likelihood_of_the_chosen_response():
    """Both at -3 nats: log 2 + 3. With -1 and -3, beta 0.5: log(1 + e^-1) + 1."""
    loss = cpo_with_nll(torch.tensor([-3.0, -1.0]), torch.tensor([-3.0, -3.0]), beta=0.5)
    assert loss.tolist() == pytest.approx([math.log(2) + 3, math.log(1 + math.exp(-1)) + 1])


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(InputError) as error:
        preference_loss("DPO")
    assert str(error.value) == f"loss is 'DPO'; expected one of {', '.join(LOSSES)}"


def test_another_reduction_than_sum_and_mean_is_refused():
    with pytest.raises(InputError, match="reduction is 'average'; expected one of sum, mean"):
        PreferenceLoss(dpo_loss, reduction="average")


def test_simpo_in_python_is_simpo_on_the_command_line_to_the_bit(tmp_path):
    words = ["--loss", "simpo", "--set", "eval_samples=0", "--set", "epochs=1", "--output", str(tmp_path / "run")]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(f'{{"prompt": "Say {n}.", "chosen": " {n}, sir.", "rejected": " {n}"}}\n' for n in range(12))
    )
    assert main(["train", *words, "--data", str(pairs), "--eval-data", str(pairs)]) == 0
    policy, tokenizer = load_model()
    config = dpo_notes.DPOConfig(eval_samples=0, epochs=1)
    dpo_notes.train_dpo(policy, None, dpo_notes.load_pairs(pairs), tokenizer, config, loss="simpo").finish()
    theirs, _ = load_model(str(tmp_path / "run" / "model"))
    assert all(torch.equal(mine, its) for mine, its in zip(policy.parameters(), theirs.parameters(), strict=True))


def test_a_training_that_nobody_asked_for_says_so(start, tiny_model):
    before = tiny_model.lm_head.weight.detach().clone()
    training = start(tiny_model)
    assert repr(training) == "<training, not started: iterate over it, or call .finish()>"
    assert torch.equal(tiny_model.lm_head.weight, before)
    first = next(training)
    assert first["step"] == 1 and "not started" not in repr(training)
    assert [row["step"] for row in training.finish()] == [2]
