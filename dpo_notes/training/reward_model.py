"""The reward model: Bradley–Terry on a language model whose output is a single number."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.load import context_length
from dpo_notes.language.reward_head import check_reward_model, last_token_rewards
from dpo_notes.maths.bradley_terry import preference_nll, preference_probability
from dpo_notes.maths.calibration import expected_calibration_error, reliability
from dpo_notes.maths.errors import InputError
from dpo_notes.maths.losses import preference_metrics
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.batches import collate_pairs, in_order_of_length
from dpo_notes.pairs.encode import EncodedPair, encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.checkpoint import RunFolder
from dpo_notes.training.config import check_loop_settings
from dpo_notes.training.device import autocast, new_accelerator
from dpo_notes.training.epochs import EpochSteps, train_epochs
from dpo_notes.training.identity import data_digest, run_identity, shapes_digest
from dpo_notes.training.training import Training

CALIBRATION_BINS = 10  # from 1/2 to 1


@dataclass(frozen=True)
class RewardModelConfig:
    """Settings of a reward-model run. Raises InputError for values out of range."""

    learning_rate: float = 1e-5  # at its peak; usual for GPT-2 and larger models
    epochs: int = 1  # times through the pairs; large reward models overfit in the second
    batch_size: int = 16  # pairs per forward pass and process
    accumulation_steps: int = 1  # forward passes per optimizer step
    warmup_fraction: float = 0.1  # of all steps; the learning rate rises, then falls linearly to 0
    weight_decay: float = 0.0  # AdamW's, on matrices
    max_grad_norm: float = 1.0  # L2 norm to which the gradient is clipped
    max_length: int = 512  # tokens of prompt and response; at most the model's context
    precision: str = "auto"  # "fp32", "bf16", "fp16", or "auto": on a GPU bf16, or fp16 without it; fp32 elsewhere
    eval_every: int = 0  # optimizer steps between evaluations; 0: only before the first and after the last
    checkpoint_every: int = 100  # optimizer steps between checkpoints, where there is a folder for them
    seed: int = 0  # of the order of pairs

    def __post_init__(self):
        check_loop_settings(self)


def train_reward_model(
    reward_model: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    config: RewardModelConfig,
    *,
    eval_pairs: Sequence[PreferencePair] | None = None,
    output_dir: str | Path | None = None,
    resume: bool = False,
) -> Training:
    """Train `reward_model` in place on comparisons: a `Training`, which yields one row of metrics per optimizer step.

    loss = mean over pairs of -log sigma(r(x, y_w) - r(x, y_l)), as in `preference_nll`
    Reward model and tokenizer come from `new_reward_model` or `load_reward_model`.

    Rows hold "step", "epoch", "loss" (nats), "rewards/…" (nats), "grad_norm", "learning_rate" and "pairs_per_second".
    With `eval_pairs` the rows of evaluations, the first of them at step 0 before any training, also hold "eval/loss",
    "eval/rewards/…" and "eval/calibration", the expected calibration error. The level of "rewards/chosen" and
    "rewards/rejected" is arbitrary: any function of the prompt can be added to both. Only margins are identified.
    `output_dir`, `resume` and errors are those of train_dpo; its model/ loads in `load_reward_model`, in transformers'
    AutoModelForSequenceClassification, and in TRL.
    Known value: loss log 2 and rewards 0 at step 1, when the head is new.
    """
    if not pairs:
        raise InputError("no pairs to train on; expected at least one")
    check_reward_model(reward_model)
    max_length = min(config.max_length, context_length(reward_model))
    encoded = encode_pairs(tokenizer, pairs, max_length=max_length)
    eval_encoded = encode_pairs(tokenizer, eval_pairs or [], max_length=max_length)
    accelerator = new_accelerator()
    steps = EpochSteps([len(pair) for pair in encoded], config, processes=accelerator.num_processes)
    identity = {}
    if output_dir is not None:
        identity = run_identity(
            config,
            pairs=data_digest(encoded),
            eval_pairs=data_digest(eval_encoded),
            model=shapes_digest(reward_model),
            processes=accelerator.num_processes,
        )
    folder = RunFolder(output_dir, accelerator, identity=identity, resume=resume)

    def share(model: nn.Module, numbers: list[int], whole: list[int]) -> dict[str, Tensor]:
        per_pair = reward_metrics(*pair_rewards(model, [encoded[number] for number in numbers], config))
        return {name: values.sum() / len(whole) for name, values in per_pair.items()}

    def evaluate(model: nn.Module) -> Row:
        return evaluate_rewards(model, eval_encoded, config)

    how = {"pairs": pairs, "folder": folder, "share": share, "evaluate": evaluate if eval_encoded else None}
    return Training(train_epochs(reward_model, tokenizer, steps, config, **how))


def pair_rewards(
    model: nn.Module, pairs: Sequence[EncodedPair], config: RewardModelConfig
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """(chosen, rejected): the rewards of both responses of each pair, in nats, in one forward pass."""
    device = next(model.parameters()).device
    with autocast(device, config.precision):
        chosen, rejected = last_token_rewards(model, collate_pairs(pairs).to(device)).chunk(2)
    return chosen, rejected


def reward_metrics(
    chosen: Float[Tensor, " batch"], rejected: Float[Tensor, " batch"]
) -> dict[str, Float[Tensor, " batch"]]:
    """Each pair's "loss" and "rewards/…", in nats; only "loss" carries a gradient."""
    # The names and their meaning are DPO's. There a reward is beta times a log-ratio; here it is what the head says.
    return {"loss": preference_nll(chosen, rejected), **preference_metrics(chosen, rejected, beta=1.0)}


@torch.no_grad()
def evaluate_rewards(model: nn.Module, pairs: Sequence[EncodedPair], config: RewardModelConfig) -> Row:
    """The means of `reward_metrics` over all pairs, and "calibration". Every process computes all of it."""
    batches = in_order_of_length([len(pair) for pair in pairs], config.batch_size)
    rewards = [pair_rewards(model, [pairs[number] for number in numbers], config) for numbers in batches]
    chosen, rejected = (torch.cat(side) for side in zip(*rewards, strict=True))
    row = {name: values.mean().item() for name, values in reward_metrics(chosen, rejected).items()}
    diagram = reliability(preference_probability(chosen, rejected), n_bins=CALIBRATION_BINS)
    return row | {"calibration": expected_calibration_error(diagram)}
