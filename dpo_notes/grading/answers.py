"""Answers as plain data: JSON that one process sends after running a notebook and another process judges.

What arrives cannot execute anything: it is numbers, text, lists and tensors, or the printed form of something else.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from dpo_notes.teaching.checking import is_blank

DEPTH = 8  # of nested lists
PRINTED = 80  # characters that we keep of something that is neither number, text, list nor tensor
DTYPES = {str(kind).removeprefix("torch."): kind for kind in (torch.float64, torch.float32, torch.float16)}
DTYPES |= {str(kind).removeprefix("torch."): kind for kind in (torch.bfloat16, torch.int64, torch.int32, torch.bool)}


@dataclass(frozen=True)
class Other:
    """An answer of a kind that no exercise asks for, in its printed form."""

    printed: str

    def __repr__(self) -> str:
        return self.printed


def encode(value: object, *, depth: int = DEPTH) -> object:
    """The JSON form of a value. Floating-point numbers keep every digit; sets become lists."""
    if value is None or type(value) in (bool, int, float):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # a plain str even from a subclass, such as NumPy's
    if value is Ellipsis:
        return {"blank": True}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [encode(item, depth=depth - 1) for item in value]
    try:
        tensor = _as_tensor(value).detach().cpu()
        return {"tensor": tensor.tolist(), "dtype": str(tensor.dtype).removeprefix("torch.")}
    except Exception:  # noqa: BLE001  the reader's object may raise anything
        return {"other": _printed(value)}


def decode(data: object, *, depth: int = DEPTH) -> object:
    """The value that a JSON form encodes; an `Other` if it encodes none, or is nested too deep."""
    if data is None or isinstance(data, bool | int | float | str):
        return data
    if isinstance(data, list) and depth:
        return [decode(item, depth=depth - 1) for item in data]
    if isinstance(data, dict) and "blank" in data:
        return ...
    if isinstance(data, dict) and "tensor" in data:
        try:
            return torch.tensor(data["tensor"], dtype=DTYPES[data.get("dtype")])
        except (KeyError, TypeError, ValueError, RuntimeError, OverflowError):
            return Other("an invalid tensor")
    printed = data.get("other") if isinstance(data, dict) else None
    return Other(printed[:PRINTED]) if isinstance(printed, str) else Other("something else")


def reported(answer: object, cases: list | None) -> dict[str, object]:
    """How a notebook's process reports an answer: {"blank"}, {"value"}, or a function's {"results"} on the cases.

    cases: the arguments, as JSON, on which the exercise compares functions; None if it asks for a value.
    A function that raises is reported as {"raised", "message"}.
    """
    if is_blank(answer):
        return {"blank": True}
    if not cases or not callable(answer):
        return {"value": encode(answer)}
    try:
        results = [answer(*decode(case)) for case in cases]
        return {"results": [encode(result) for result in results]}
    except Exception as error:  # noqa: BLE001  the reader's function may raise anything
        return {"raised": type(error).__name__, "message": str(error)[:PRINTED]}


def received(report: object, *, asks_for_function: bool) -> object:
    """The answer in a report, ready for `verdict`. A function becomes one that replays its results."""
    if not isinstance(report, dict):
        return Other("an invalid report")
    if "blank" in report or "value" in report:
        return ... if "blank" in report else decode(report["value"])
    return _replay(report) if asks_for_function else Other("a function")


def _replay(report: dict[str, object]) -> Callable:
    """A function that returns, call by call, what the reader's function returned, or raises what it raised."""
    results = report.get("results")
    waiting = iter([decode(result) for result in results] if isinstance(results, list) else [])

    def answer(*arguments: object) -> object:
        if "raised" in report:
            raise type(str(report["raised"])[:PRINTED], (Exception,), {})(str(report.get("message"))[:PRINTED])
        return next(waiting, Other("no result"))

    return answer


def _as_tensor(value: object) -> torch.Tensor:
    """Numbers of any kind, including fractions and decimals, as the checkers accept them in a notebook."""
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.as_tensor(value, dtype=torch.float64)
    return tensor if tensor.dtype in DTYPES.values() else tensor.to(torch.int64)


def _printed(value: object) -> str:
    try:
        return repr(value)[:PRINTED]
    except Exception:  # noqa: BLE001  even printing the reader's object may fail
        return "something without a printed form"
