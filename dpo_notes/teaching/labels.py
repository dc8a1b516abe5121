"""The reader's own comparisons, in a JSON Lines file; made in notebook 02, used in 06 and 10."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dpo_notes.maths.bradley_terry import bayes_accuracy
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.places import WORK
from dpo_notes.worlds.reviews import world as reviews

MY_COMPARISONS = WORK / "runs" / "my_comparisons.jsonl"  # `runs/` is not kept in git


def my_comparisons(path: Path = MY_COMPARISONS) -> list[PreferencePair]:
    """The comparisons labelled so far, oldest first; empty without a file. Errors are those of `load_pairs`."""
    return load_pairs(path) if path.exists() else []


def add_comparison(pair: PreferencePair, path: Path = MY_COMPARISONS) -> None:
    """Append a line with prompt, chosen and rejected to the file, which is created, with its folder, if absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {"prompt": pair.prompt, "chosen": pair.chosen, "rejected": pair.rejected}
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def drop_last_comparison(path: Path = MY_COMPARISONS) -> None:
    """Remove the last line of the file, or the file if it has no other line. Does nothing if there is no file."""
    kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[:-1] if path.exists() else []
    if not kept:
        path.unlink(missing_ok=True)
        return
    beside = path.with_suffix(".jsonl.part")
    beside.write_text("".join(kept), encoding="utf-8", newline="\n")
    beside.replace(path)  # in one step, so that the file is always complete


class Agreement(NamedTuple):
    """How labels agree with the true reward. decided: pairs in which one reward is higher; ties: the other pairs.
    agreed: decided pairs whose chosen response has the higher reward. raters: the share of decided pairs on which the
    world's own raters, who sometimes prefer the lower reward, would agree on average; None without decided pairs.
    """

    agreed: int
    decided: int
    ties: int
    raters: float | None


def agreement(pairs: Sequence[PreferencePair]) -> Agreement:
    """How these labels agree with the true reward of the review world. Known value: (0, 0, 0, None) for no pairs."""
    prompts = [pair.prompt for pair in pairs]
    chosen = reviews.reward(prompts, [pair.chosen for pair in pairs])
    rejected = reviews.reward(prompts, [pair.rejected for pair in pairs])
    decided = chosen != rejected
    count = int(decided.sum())
    raters = bayes_accuracy(chosen[decided], rejected[decided]) if count else None
    return Agreement(int((chosen > rejected).sum()), count, len(pairs) - count, raters)
