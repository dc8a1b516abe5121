"""Which pairs each optimizer step sees: seed and epoch alone decide, however the step is split."""

from collections.abc import Sequence
from itertools import pairwise

import torch

from dpo_notes.pairs.batches import batches_of_like_length

Step = list[list[int]]  # the microbatches of one optimizer step, each a list of pair numbers


def epoch_steps(
    lengths: Sequence[int],
    *,
    batch_size: int,
    accumulation_steps: int,
    processes: int,
    seed: int,
    epoch: int,
    tokens: Sequence[int] = (),
    tokens_per_batch: int = 0,
) -> list[Step]:
    """The steps of one epoch. Process number r takes the microbatches r, r + processes, … of each step.

    A step holds batch_size * accumulation_steps * processes pairs; the epoch's last step may hold fewer. So 8 pairs at
    once, 8 microbatches of 1, and 2 processes of 4 are the same step. Each pair comes once, except that the last few,
    fewer than there are processes, are left out if the last step would leave a process without a microbatch.
    With `tokens_per_batch`, microbatches hold at most so many `tokens`, those of each pair, instead of `batch_size` pairs.
    """
    generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)  # every epoch has its own seed
    whole = batch_size * accumulation_steps * processes
    batches = batches_of_like_length(lengths, whole, generator=generator)
    batches = [batch for batch in batches if len(batch) >= processes]
    if tokens_per_batch:
        return [_split_by_tokens(batch, tokens, tokens_per_batch, processes) for batch in batches]
    return [_split(batch, batch_size, processes) for batch in batches]


def _split(batch: list[int], batch_size: int, processes: int) -> Step:
    """Microbatches of at most `batch_size` pairs, as even as possible, equally many per process, none empty."""
    rounds = min(-(-len(batch) // (batch_size * processes)), len(batch) // processes)
    count = rounds * processes
    size, longer = divmod(min(len(batch), count * batch_size), count)
    starts = [index * size + min(index, longer) for index in range(count + 1)]
    return [batch[start:end] for start, end in pairwise(starts)]


def _split_by_tokens(batch: list[int], tokens: Sequence[int], most: int, processes: int) -> Step:
    """Microbatches of at most `most` tokens, or of one pair, equally many per process, none empty.

    Where there are too few pairs for that, some hold two.
    """
    parts: Step = [[]]
    for number in batch:
        if parts[-1] and sum(tokens[other] for other in parts[-1]) + tokens[number] > most:
            parts.append([])
        parts[-1].append(number)
    while len(parts) % processes and len(parts) < len(batch):
        longest = max(range(len(parts)), key=lambda index: len(parts[index]))
        half = len(parts[longest]) // 2
        parts[longest : longest + 1] = [parts[longest][:half], parts[longest][half:]]
    while len(parts) % processes:
        parts[-2:] = [parts[-2] + parts[-1]]
    return parts
