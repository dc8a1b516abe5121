"""The settings of a DPO run, and the checks of the settings that all loops share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dpo_notes.maths.checks import check_fraction, check_positive
from dpo_notes.maths.errors import InputError

SEEDS = 2**32  # so that an epoch's own seed is one too
LEAST = {"epochs": 1, "batch_size": 1, "accumulation_steps": 1, "max_length": 2, "eval_every": 0, "eval_samples": 0}
LEAST |= {"checkpoint_every": 0, "seed": 0, "tokens_per_batch": 0}


@dataclass(frozen=True)
class DPOConfig:
    """Settings of a DPO run; none of them selects another algorithm. Raises InputError for values out of range."""

    beta: float = 0.1  # nats of reward per nat of log-ratio; the DPO paper's usual value
    learning_rate: float = 1e-5  # at its peak; above the paper's 1e-6, as GPT-2 is far smaller than the paper's models
    epochs: int = 1  # times through the pairs; DPO overfits soon
    batch_size: int = 8  # pairs a forward pass and process
    accumulation_steps: int = 1  # forward passes an optimizer step
    tokens_per_batch: int = 0  # if not 0, a forward pass holds pairs of so many tokens in all; the step stays the same
    warmup_fraction: float = 0.1  # of all steps, in which the learning rate rises; then it falls in a line to 0
    weight_decay: float = 0.0  # AdamW's, on matrices; the reference already holds the policy in place
    max_grad_norm: float = 1.0  # L2 norm to which the gradient is clipped
    max_length: int = 512  # tokens of prompt and response; at most the model's context
    precision: str = "auto"  # "fp32", "bf16", "fp16", or "auto": on a GPU bf16, or fp16 without it; fp32 elsewhere
    cache_reference: bool = True  # score the reference once before training; False: at every step
    eval_every: int = 0  # optimizer steps between evaluations; 0: only before the first and after the last
    eval_samples: int = 64  # prompts answered by the policy at an evaluation, for KL and length; 0: none
    checkpoint_every: int = 100  # optimizer steps between checkpoints, where there is a folder for them
    seed: int = 0  # of the order of pairs, and of the samples at evaluations

    def __post_init__(self):
        check_positive("beta", self.beta)
        check_loop_settings(self)
        if type(self.cache_reference) is not bool:
            raise InputError(f"cache_reference is {self.cache_reference!r}; expected True or False")


def check_loop_settings(config: object, *, least: Mapping[str, int] | None = None) -> None:
    """Raise InputError if a shared setting is out of range; a loop need not have all of them.

    `least`: the minimum of each of its own whole numbers, in addition to LEAST or in place of its values.
    """
    for name in ("learning_rate", "max_grad_norm"):
        check_positive(name, getattr(config, name))
    check_fraction("warmup_fraction", config.warmup_fraction, below=1.0)
    for name, smallest in (LEAST | dict(least or {})).items():
        value = getattr(config, name, smallest)
        if type(value) is not int or value < smallest:
            raise InputError(f"{name} is {value!r}; expected a whole number of at least {smallest}")
    if getattr(config, "weight_decay", 0) != 0:
        check_positive("weight_decay (if not 0)", config.weight_decay)
    if config.seed >= SEEDS:
        raise InputError(f"seed is {config.seed}; expected less than {SEEDS}")
    check_choice("precision", getattr(config, "precision", "fp32"), choices=("auto", "fp32", "bf16", "fp16"))


def check_rounds_settings(config: object, *, least: Mapping[str, int]) -> None:
    """The same for loops that train on the policy's own responses; their beta may be 0."""
    if config.beta != 0:
        check_positive("beta (if not 0)", config.beta)
    least = {"steps": 1, "rows_per_forward": 1, "max_new_tokens": 1} | dict(least)
    check_loop_settings(config, least=least)


def check_choice(name: str, value: object, *, choices: Sequence[str]) -> None:
    """Raise InputError unless `value` is one of `choices`."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
