"""The rows of a DPO run for a live picture: no row takes long, and some measure held-out pairs."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dpo_notes.language.score import batch_logps
from dpo_notes.maths.losses import preference_metrics
from dpo_notes.maths.rows import Row
from dpo_notes.pairs.batches import Batch, collate_pairs, in_order_of_length
from dpo_notes.pairs.encode import encode_pairs
from dpo_notes.pairs.load import PreferencePair
from dpo_notes.training.config import DPOConfig
from dpo_notes.training.dpo import train_dpo
from dpo_notes.training.preference_loss import PreferenceLoss

HELD_OUT_BATCH = 20  # pairs scored at once: less work than a training step
Scores = Float[Tensor, "2 batch"]  # log-probabilities of the chosen and the rejected responses, in nats


def live_rows(
    policy: PreTrainedModel,
    reference: PreTrainedModel,
    pairs: Sequence[PreferencePair],
    held_out: Sequence[PreferencePair],
    tokenizer: PreTrainedTokenizerBase,
    config: DPOConfig,
    *,
    loss: PreferenceLoss,
    every: int,
) -> Iterator[Row]:
    """The rows of `train_dpo`, and rows on `held_out` pairs: at step 0, after every `every` steps and after the last.

    Held-out rows hold "step", "eval/logps/…" (nats) and "eval/rewards/…" as in `train_dpo`; the rewards are beta times
    the summed log-ratios to `reference`, whatever the loss is fed, so that losses can be compared.
    No row takes longer than a step or a few scored pairs, if `config.cache_reference` is False, so that the reference
    is scored batch by batch. While held-out pairs are being scored, the rows are empty.
    Raises the errors of `train_dpo` at the first row.
    """
    fed = reference if loss.needs_reference else None
    training = train_dpo(policy, fed, pairs, tokenizer, config, loss=loss)
    encoded = encode_pairs(tokenizer, held_out, max_length=config.max_length)
    batches = [
        collate_pairs([encoded[number] for number in numbers])
        for numbers in in_order_of_length([len(pair) for pair in encoded], HELD_OUT_BATCH)
    ]
    before: list[Scores] = []
    for batch in batches:
        before.append(_scores(reference, batch))
        yield {}
    reference_scores = torch.cat(before, dim=1)
    yield held_out_row(reference_scores, reference_scores, step=0, beta=config.beta)
    for row in training:
        yield row
        last = row["step"] == round(row["step"] / row["epoch"] * config.epochs)
        if last or row["step"] % every == 0:
            after: list[Scores] = []
            for batch in batches:
                after.append(_scores(policy, batch))
                yield {}
            yield held_out_row(torch.cat(after, dim=1), reference_scores, step=row["step"], beta=config.beta)


def held_out_row(policy: Scores, reference: Scores, *, step: int, beta: float) -> Row:
    """Means over pairs of the policy's log-probabilities, in nats, and of its rewards against the reference."""
    values = preference_metrics(*(policy - reference), beta=beta)
    values |= {"logps/chosen": policy[0], "logps/rejected": policy[1]}
    return {"step": step} | {f"eval/{name}": value.mean().item() for name, value in values.items()}


@torch.no_grad()
def _scores(model: PreTrainedModel, batch: Batch) -> Scores:
    return torch.stack(batch_logps(model, batch.to(model.device))).cpu()
