"""How a command reads its comparisons: what becomes of bad rows, and what is held out."""

import argparse
from functools import partial
from pathlib import Path

from dpo_notes.pairs.embedded import EMBEDDED
from dpo_notes.pairs.load import PreferencePair, load_pairs

HELD_OUT_SHARE, HELD_OUT_LIMIT = 0.1, 500

Pairs = list[PreferencePair]


def read_pairs(args: argparse.Namespace, tokenizer, name: str, split: str | None = None) -> Pairs:
    """The comparisons of this name, with bad rows as --on-bad-row says: also those that this tokenizer cannot take."""
    from dpo_notes.pairs.encode import texts_to_encode

    return load_pairs(name, split, on_bad_row=args.on_bad_row, check=partial(texts_to_encode, tokenizer))


def split_to_judge_by(name: str) -> str | None:
    """The split that training does not see: "test", of the repository's own, a folder or a hub data set; a file has none."""
    return None if Path(name).is_file() else "test"


def load_splits(args: argparse.Namespace, tokenizer, *, seed: int) -> tuple[Pairs, Pairs]:
    """(training pairs, held-out pairs): the second from --eval-data, or the repository's test file, or held out here."""
    import torch

    from dpo_notes.pairs.split import hold_out

    pairs = read_pairs(args, tokenizer, args.data)
    if args.eval_data is not None:
        return pairs, read_pairs(args, tokenizer, args.eval_data, split_to_judge_by(args.eval_data))
    if args.data == EMBEDDED:
        return pairs, read_pairs(args, tokenizer, EMBEDDED, "test")
    generator = torch.Generator().manual_seed(seed)
    return hold_out(pairs, share=HELD_OUT_SHARE, limit=HELD_OUT_LIMIT, generator=generator)
