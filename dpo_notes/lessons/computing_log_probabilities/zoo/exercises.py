"""The exercises of the bug zoo, which are the last ones of notebook 09."""

import torch
from torch import Tensor

from dpo_notes.lessons.computing_log_probabilities.zoo.named_tests import NAMED_TESTS
from dpo_notes.lessons.computing_log_probabilities.zoo.symptoms import letter_of
from dpo_notes.lessons.computing_log_probabilities.zoo.table import (
    RIGHT_ONE,
    confused,
    fault_table,
    smallest_sets,
    told_apart_by,
)
from dpo_notes.maths.logps import sequence_logps, token_logps
from dpo_notes.teaching.checking import Exercise, Mistake

# 09.6: (fault, what it is often taken for): the evidence against that.
PATIENTS = tuple(sorted(("reference trained", "sign flipped", "beta missing", "dropout left on"), key=letter_of))
CONFUSIONS = {
    ("reference trained", "log forgotten"): "a loss of exactly log 2 and a margin of exactly 0 at every step are not a "
    "slow run: policy and reference must be one",
    ("sign flipped", "pair swapped"): "with the pair swapped the log would be flawless, margin and accuracy rising; "
    "here the margin falls with the loss",
    ("beta missing", "reference left out"): "this run starts at log 2 with margin 0, so the reference is there; "
    "compare the first gradient with that of the right code",
    ("dropout left on", "reference left out"): "neither starts at log 2; but without the reference the "
    "log-probabilities would start as those of the right code do, and here they are off as well",
}  # fmt: skip

# 09.7: rows padded on the right with end of text, whose id is 0.
END = 0


def mended(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    """log pi(y | x) of each row, by the package."""
    return sequence_logps(token_logps(logits, input_ids), _response(input_ids, prompt_lengths, lengths))


def _response(input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    place = torch.arange(input_ids.shape[1])
    return (place >= prompt_lengths[:, None]) & (place < lengths[:, None])


def _no_shift(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    logps = logits.log_softmax(-1).gather(-1, input_ids[..., None]).squeeze(-1)
    return sequence_logps(logps, _response(input_ids, prompt_lengths, lengths))


def _masked_by_id(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    mask = _response(input_ids, prompt_lengths, lengths) & (input_ids != END)
    return sequence_logps(token_logps(logits, input_ids), mask)


def _padding_scored(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    return mended(logits, input_ids, prompt_lengths, torch.full_like(lengths, input_ids.shape[1]))


def _mean(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    return mended(logits, input_ids, prompt_lengths, lengths) / (lengths - prompt_lengths)


def _one_late(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    return mended(logits, input_ids, prompt_lengths + 1, lengths)


def as_it_was(logits: Tensor, input_ids: Tensor, prompt_lengths: Tensor, lengths: Tensor) -> Tensor:
    """The colleague's function of the notebook, with its three faults."""
    logps = logits.log_softmax(-1).gather(-1, input_ids[..., None]).squeeze(-1)
    place = torch.arange(input_ids.shape[1])
    mask = (place >= prompt_lengths[:, None]) & (input_ids != END)
    return (logps * mask).sum(1) / mask.sum(1)


def _case() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two rows of six tokens over a vocabulary of five; the second row is padded, the first begins with end of text."""
    logits = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    input_ids = torch.tensor([[END, 3, 1, 4, 2, END], [2, 1, 3, END, END, END]])
    return logits, input_ids, torch.tensor([2, 1]), torch.tensor([6, 4])


# 09.8: sets of tests.
NAMES = tuple(test.__name__ for test in NAMED_TESTS)
TOO_MANY = "these tell all faults apart, and fewer do so too"
FINDERS = ("the_first_gradient_is_known", "left_padding_equals_right", "the_reference_does_not_move")


def _diagnosis_problem(seen: object) -> str | None:
    if not (isinstance(seen, list | tuple) and len(seen) == len(PATIENTS) and all(isinstance(x, str) for x in seen)):
        return f"a list of {len(PATIENTS)} names of faults is expected, in the order of the logs"
    titles = {title.casefold(): title for title in fault_table()}
    for truth, given in zip(PATIENTS, seen, strict=True):
        title = titles.get(given.strip().casefold())
        if title is None:
            return f"{given!r:.60} is no fault of the zoo; its names stand at the left of the table"
        if title != truth:
            test = told_apart_by(fault_table(), truth, title)[0]
            words = f"it and {title!r} differ in the test {test}"
            return f"specimen {letter_of(truth)}: {CONFUSIONS.get((truth, title), words)}"
    return None


def _set_problem(seen: object) -> str | None:
    if not (isinstance(seen, list | tuple | set | frozenset) and seen and all(isinstance(x, str) for x in seen)):
        return "a list of names of tests is expected"
    unknown = [name for name in seen if name not in NAMES]
    if unknown:
        return f"{unknown[0]!r:.60} is no test of the zoo"
    pair = confused(fault_table(), seen)
    if pair is not None and RIGHT_ONE not in pair:
        return _found_not_told(*pair)
    if pair is not None:
        return f"{pair[1]!r} passes all of these, as the right code does"
    return TOO_MANY if len(set(seen)) > len(smallest_sets(fault_table())[0]) else None


def _found_not_told(one: str, other: str) -> str:
    return f"these tests may find {one!r} and {other!r}, and cannot tell the two apart: both fail the same ones"


def _with(truth: str, given: str) -> Mistake:
    """The diagnosis with one specimen taken for another fault."""
    answer = [given if patient == truth else patient for patient in PATIENTS]
    return Mistake(answer, f"specimen {letter_of(truth)}: {CONFUSIONS[truth, given]}")


ZOO_EXERCISES = (
    Exercise(
        number="09.6",
        expected=list(PATIENTS),
        rule=_diagnosis_problem,
        mistakes=tuple(_with(truth, given) for truth, given in CONFUSIONS),
    ),
    Exercise(
        number="09.7",
        expected=mended,
        cases=(_case(),),
        mistakes=(
            Mistake(as_it_was, "this is the function as it was; three of its lines are wrong"),
            Mistake(
                _no_shift,
                "each token is looked up in the prediction made after it was read: the shift by one is missing",
            ),
            Mistake(_masked_by_id, "end of text has the id of padding and was masked with it: mask by length"),
            Mistake(_padding_scored, "the padding after the response is scored: the mask ends at each row's length"),
            Mistake(_mean, "this is the mean over tokens; the sum is needed"),
            Mistake(_one_late, "the first token of the response is missing: the mask came out one token late"),
        ),
    ),
    Exercise(
        number="09.8",
        expected=lambda: list(smallest_sets(fault_table())[0]),
        rule=_set_problem,
        mistakes=(
            Mistake(list(NAMES), TOO_MANY),
            Mistake(list(FINDERS), _found_not_told("pair swapped", "border token merged")),
        ),
    ),
)
