"""The settings of a DPO run: what is refused, and in which words."""

import dataclasses
import math

import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.training.config import DPOConfig

WRONG = {
    "beta": [0.0, -0.1, math.nan, math.inf, True],
    "learning_rate": [0.0, -1e-5, math.nan, math.inf],
    "epochs": [0, -1, 1.0, True],
    "batch_size": [0, 8.0, "8"],
    "accumulation_steps": [0, None],
    "tokens_per_batch": [-1, 0.5],
    "warmup_fraction": [-0.1, 1.0, math.nan],
    "weight_decay": [-0.1, math.nan, math.inf],
    "max_grad_norm": [0.0, math.nan, math.inf],
    "max_length": [1, 0, 64.0],
    "precision": ["half", "float32", None],
    "cache_reference": [0, "false", None],
    "eval_every": [-1, 0.5],
    "eval_samples": [-1, None],
    "checkpoint_every": [-1, 2.5],
    "seed": [-1, 0.0, 2**32],
}


def without_type_checker(**changes) -> None:
    """What DPOConfig(**changes) does for users, for whom no type checker of the tests stands before its own checks."""
    config = object.__new__(DPOConfig)
    for name, value in (dataclasses.asdict(DPOConfig()) | changes).items():
        object.__setattr__(config, name, value)
    config.__post_init__()


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_value_out_of_range_is_refused_in_one_line_that_names_field_value_and_what_was_expected(field, value):
    with pytest.raises(InputError) as error:
        without_type_checker(**{field: value})
    message = str(error.value)
    assert message.startswith(field)
    assert repr(value) in message
    assert "expected" in message
    assert "\n" not in message


def test_every_field_has_a_range_in_this_file_and_there_are_at_most_16():
    names = [field.name for field in dataclasses.fields(DPOConfig)]
    assert set(names) == set(WRONG)
    assert len(names) <= 16


def test_values_at_the_ends_of_their_ranges_are_kept_as_they_came():
    ends = {
        "beta": 5e-324,
        "epochs": 1,
        "warmup_fraction": 0.0,
        "weight_decay": 0.0,
        "max_length": 2,
        "eval_every": 0,
        "eval_samples": 0,
        "checkpoint_every": 0,
        "seed": 2**32 - 1,
        "cache_reference": False,
        "precision": "bf16",
    }
    config = DPOConfig(**ends)
    assert {name: getattr(config, name) for name in ends} == ends
    assert DPOConfig(beta=1).beta == 1  # a whole number is a number


def test_the_default_beta_is_the_one_of_the_public_contract():
    assert DPOConfig().beta == 0.1


def test_settings_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DPOConfig().beta = 0.2
