"""The settings of a DPO run."""

from dataclasses import dataclass

from dpo_notes.maths.checks import check_fraction, check_positive
from dpo_notes.maths.errors import InputError

SEEDS = 2**32  # so that an epoch's own seed is one too


@dataclass(frozen=True)
class DPOConfig:
    """Settings of a DPO run; none of them selects another algorithm. Raises InputError for values out of range."""

    beta: float = 0.1  # nats of reward per nat of log-ratio; the DPO paper's usual value
    reduction: str = "sum"  # response log-probabilities as the loss is defined: "sum" over tokens, or their "mean"
    learning_rate: float = 1e-5  # at its peak; above the paper's 1e-6, as GPT-2 is far smaller than the paper's models
    epochs: int = 1  # times through the pairs; DPO overfits soon
    batch_size: int = 8  # pairs a forward pass and process
    accumulation_steps: int = 1  # forward passes an optimizer step
    warmup_fraction: float = 0.1  # of all steps, in which the learning rate rises; then it falls in a line to 0
    weight_decay: float = 0.0  # AdamW's, on matrices; the reference already holds the policy in place
    max_grad_norm: float = 1.0  # L2 norm to which the gradient is clipped
    max_length: int = 512  # tokens of prompt and response; at most the model's context
    precision: str = "auto"  # "fp32", "bf16", or "auto": bf16 on a GPU that has it, fp32 elsewhere
    cache_reference: bool = True  # score the reference once before training; False: at every step
    eval_every: int = 0  # optimizer steps between evaluations; 0: only before the first and after the last
    eval_samples: int = 64  # prompts answered by the policy at an evaluation, for KL and length; 0: none
    checkpoint_every: int = 100  # optimizer steps between checkpoints, where there is a folder for them
    seed: int = 0  # of the order of pairs, and of the samples at evaluations

    def __post_init__(self):
        for name in ("beta", "learning_rate", "max_grad_norm"):
            check_positive(name, getattr(self, name))
        check_fraction("warmup_fraction", self.warmup_fraction, below=1.0)
        for name, least in (
            ("epochs", 1),
            ("batch_size", 1),
            ("accumulation_steps", 1),
            ("max_length", 2),
            ("eval_every", 0),
            ("eval_samples", 0),
            ("checkpoint_every", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(f"{name} is {value!r}; expected a whole number of at least {least}")
        if self.weight_decay != 0:
            check_positive("weight_decay, where it is not 0,", self.weight_decay)
        if self.seed >= SEEDS:
            raise InputError(f"seed is {self.seed}; expected less than {SEEDS}")
        if type(self.cache_reference) is not bool:
            raise InputError(f"cache_reference is {self.cache_reference!r}; expected True or False")
        for name, choices in (("reduction", ("sum", "mean")), ("precision", ("auto", "fp32", "bf16"))):
            if getattr(self, name) not in choices:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(choices)}")
