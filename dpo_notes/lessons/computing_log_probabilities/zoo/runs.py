"""A short training run of a pipeline: what its own log says, and what the right code measures."""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dpo_notes.lessons.computing_log_probabilities.zoo.letters import PAIRS, letter_model, letter_tokenizer
from dpo_notes.lessons.computing_log_probabilities.zoo.oracle import untrained
from dpo_notes.lessons.computing_log_probabilities.zoo.right import RIGHT, PaddedBatch, Pipeline

BETA = 0.2  # nats of reward per nat of log-ratio
STEPS, LEARNING_RATE = 24, 3e-3


@dataclass(frozen=True)
class Run:
    """A row for each step, from before the first step to after the last, and the reference at the end."""

    rows: tuple[dict[str, float], ...]
    reference: nn.Module


@cache
def trained(pipeline: Pipeline, *, side: str) -> Run:
    """STEPS of Adam on all PAIRS at once, by this pipeline. `side`: where its batches are padded.

    A row holds "step", "loss", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected" and "grad_norm"
    as the pipeline itself computes them, and "true/margins": the same policy's margin by the right code, against the
    model before training.
    """
    true_batch = RIGHT.batch(letter_tokenizer(), PAIRS)
    before = RIGHT.score(untrained(), true_batch)
    policy, reference = pipeline.start(letter_model())
    batch = pipeline.batch(letter_tokenizer(), PAIRS, side=side)
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    rows = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # for the fault that leaves dropout on
        for step in range(STEPS + 1):
            margin = true_margin(policy, before, true_batch)
            row = pipeline.step(policy, reference, batch, optimizer, beta=BETA)
            rows.append({"step": step, **row, "true/margins": margin})
    return Run(tuple(rows), reference)


@torch.no_grad()
def true_margin(policy: nn.Module, before: Float[Tensor, " rows"], batch: PaddedBatch) -> float:
    """The mean margin of all pairs in nats of reward, by the right code, with dropout off meanwhile.

    before: the log-probabilities of the batch's rows before training.
    """
    training = policy.training
    chosen, rejected = RIGHT.rewards(RIGHT.score(policy.eval(), batch), before, beta=BETA)
    policy.train(training)
    return (chosen - rejected).mean().item()
