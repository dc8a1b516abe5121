"""How a command reads its comparisons: what it does with bad rows, and what it holds out."""

import argparse
from functools import partial
from pathlib import Path

from dpo_notes.pairs.embedded import EMBEDDED
from dpo_notes.pairs.load import PreferencePair, load_pairs

HELD_OUT_SHARE, HELD_OUT_LIMIT = 0.1, 500

Pairs = list[PreferencePair]


def read_pairs(args: argparse.Namespace, tokenizer, name: str, split: str | None = None) -> Pairs:
    """The comparisons of this name. --on-bad-row also applies to rows that this tokenizer cannot encode."""
    from dpo_notes.pairs.encode import texts_to_encode

    return load_pairs(name, split, on_bad_row=args.on_bad_row, check=partial(texts_to_encode, tokenizer))


def split_to_judge_by(name: str) -> str | None:
    """The split to evaluate on: "test" for the embedded data, a folder or a hub data set; None for a file."""
    return None if Path(name).is_file() else "test"


def load_splits(args: argparse.Namespace, tokenizer, *, seed: int) -> tuple[Pairs, Pairs]:
    """(training pairs, held-out pairs): the latter from --eval-data, the embedded test file, or a part of the data."""
    import torch

    from dpo_notes.pairs.split import hold_out

    pairs = read_pairs(args, tokenizer, args.data)
    if args.eval_data is not None:
        return pairs, read_pairs(args, tokenizer, args.eval_data, split_to_judge_by(args.eval_data))
    if args.data == EMBEDDED:
        return pairs, read_pairs(args, tokenizer, EMBEDDED, "test")
    generator = torch.Generator().manual_seed(seed)
    return hold_out(pairs, share=HELD_OUT_SHARE, limit=HELD_OUT_LIMIT, generator=generator)
