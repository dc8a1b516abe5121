"""Holding comparisons out for evaluation."""

from collections.abc import Sequence

import torch

from dpo_notes.maths.checks import check_fraction
from dpo_notes.pairs.load import PreferencePair


def hold_out(
    pairs: Sequence[PreferencePair], *, share: float, limit: int, generator: torch.Generator
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """(kept, held out): about `share` of the pairs, at most `limit`, at random; pairs of one prompt stay together.

    A prompt with more pairs than are still wanted is kept, so fewer may be held out. Raises InputError for a share
    outside 0 to 1. Known value: 10 pairs of different prompts and a share of 0.1 leave 9 and hold out 1.
    """
    check_fraction("share", share, below=1)
    wanted = min(round(share * len(pairs)), limit)
    by_prompt: dict[object, list[int]] = {}
    for number, pair in enumerate(pairs):
        by_prompt.setdefault(pair.prompt, []).append(number)
    groups = list(by_prompt.values())
    held: set[int] = set()
    for index in torch.randperm(len(groups), generator=generator).tolist():
        if len(held) + len(groups[index]) <= wanted:
            held.update(groups[index])
    kept = [pair for number, pair in enumerate(pairs) if number not in held]
    return kept, [pairs[number] for number in sorted(held)]
