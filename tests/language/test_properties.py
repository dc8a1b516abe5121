"""Any file gives a result or one line that says why not, and any text gets the right score."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from by_hand import logp_by_hand, tokens_by_hand
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair, load_pairs

INPUTS = {"files": 1000, "files with rows to skip": 300, "texts": 150}  # tried here, each number as counted by its test
END = "<|endoftext|>"

ODD = ["", " ", "\n", "\r\n", "\0", "\x1b[2J", "\x85", "\u2028", "\ufeff", "\u0301", "👩\u200d🔬", '"', ",", "'", "\\"]
PIECE = st.text(max_size=12) | st.sampled_from(ODD)
UNICODE = st.builds(lambda pieces: "".join(pieces), st.lists(PIECE, max_size=4))
HUGE = st.builds(lambda piece, times: piece * times, PIECE, st.integers(1000, 100_000))
SPOILT = st.text(st.characters(), max_size=8) | st.just("\ud83d")  # half a surrogate pair, which JSON can spell
ANY_TEXT = UNICODE | UNICODE | SPOILT | st.sampled_from([END, "\n\nHuman: a\n\nAssistant: b", "[{'role': 'user'"])

MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", 3]), "content": ANY_TEXT | st.none()}
)
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
JSON = st.recursive(SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3))
VALUE = ANY_TEXT | ANY_TEXT | HUGE | st.lists(MESSAGE, max_size=3) | JSON
ROW = st.fixed_dictionaries({"chosen": VALUE, "rejected": VALUE}, optional={"prompt": VALUE, "other": VALUE}) | JSON


def jsonl(rows: list, ascii_only: bool) -> bytes:
    """One row a line; half a surrogate pair is spelled out, or else written in bytes that are not UTF-8."""
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def json_list(rows: list, ascii_only: bool) -> bytes:
    return json.dumps(rows, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def csv_table(rows: list, ascii_only: bool) -> bytes:
    """A header from the first row, and every row's values as text."""
    rows = [row if isinstance(row, dict) else {"chosen": row} for row in rows]
    file = io.StringIO()
    csv.writer(file).writerows([list(rows[0]) if rows else [], *(list(row.values()) for row in rows)])
    return file.getvalue().encode(
        "ascii" if ascii_only else "utf-8", "backslashreplace" if ascii_only else "surrogatepass"
    )


WRITERS = {"jsonl": jsonl, "json": json_list, "csv": csv_table}


@st.composite
def files(draw) -> tuple[str, bytes]:
    """An ending and contents: rows as they should be or not, whole or damaged, or nothing but bytes."""
    kind = draw(st.sampled_from(sorted(WRITERS)))
    data = draw(st.builds(WRITERS[kind], st.lists(ROW, max_size=4), st.booleans()) | st.binary(max_size=60))
    for _ in range(draw(st.sampled_from([0, 0, 1, 3]))):
        start = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 5, len(data)]))
        data = data[:start] + draw(st.binary(max_size=3)) + data[start + length :]
    return kind, draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + data


def try_all(what: str, inputs: st.SearchStrategy, claim: Callable[[object], object]) -> None:
    """The claim on INPUTS[what] different inputs, and no fewer."""
    count = 0

    @settings(max_examples=INPUTS[what], suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(inputs)
    def once(value: object) -> None:
        nonlocal count
        count += 1
        claim(value)

    once()
    assert count == INPUTS[what]


def loaded(path: Path, on_bad_row: str = "stop") -> list[PreferencePair] | InputError:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return load_pairs(path, on_bad_row=on_bad_row)
        except InputError as error:
            return error


def test_any_file_gives_comparisons_or_one_line_that_says_why_not(tmp_path):
    """And where reading does not stop at a bad row, there is nothing for it to skip."""

    def claim(file: tuple[str, bytes]) -> None:
        path = tmp_path / f"a.{file[0]}"
        path.write_bytes(file[1])
        result, skipping = loaded(path), loaded(path, "skip")
        for outcome in (result, skipping):
            if isinstance(outcome, InputError):
                assert str(outcome).startswith(f"{path}")
                assert len(str(outcome).splitlines()) == 1 and len(str(outcome)) < 1000
            else:
                assert outcome and all(isinstance(pair, PreferencePair) for pair in outcome)
                assert all(pair.chosen != pair.rejected for pair in outcome)
        if not isinstance(result, InputError):
            assert result == skipping

    try_all("files", files(), claim)


def test_skipping_leaves_exactly_the_rows_that_load_alone(tmp_path):
    """Each of the rows has a prompt, because whether it has one is a matter of the rows before."""
    rows = st.fixed_dictionaries({"prompt": VALUE}, optional={"chosen": VALUE, "rejected": VALUE})
    texts = st.fixed_dictionaries(dict.fromkeys(("prompt", "chosen", "rejected"), UNICODE))
    path = tmp_path / "a.jsonl"

    def claim(rows: list[dict]) -> None:
        alone = []
        for row in rows:
            path.write_bytes(jsonl([row], ascii_only=True))
            outcome = loaded(path)
            alone += [] if isinstance(outcome, InputError) else outcome
        path.write_bytes(jsonl(rows, ascii_only=True))
        together = loaded(path, "skip")
        assert together == alone if alone else isinstance(together, InputError)

    try_all("files with rows to skip", st.lists(rows | texts, max_size=5), claim)


@st.composite
def comparisons(draw) -> tuple[str, dict]:
    """An ending and a comparison of any text, up to well beyond the context of the tiny model, that a file can hold."""
    repeated = st.builds(lambda text, times: text * times, UNICODE, st.sampled_from([1, 1, 1, 2, 5, 30]))
    text = (UNICODE | repeated).filter(lambda text: END not in text)
    chosen = draw(text.filter(str.strip))
    rejected = draw(text.filter(lambda text: text.strip() and text != chosen))
    return draw(st.sampled_from(sorted(WRITERS))), {"prompt": draw(text), "chosen": chosen, "rejected": rejected}


def test_any_text_of_any_length_comes_back_from_a_file_and_scores_as_the_naive_loop_does(
    tmp_path, new_tiny_model, tiny_tokenizer
):
    from dpo_notes.language.score import response_logps

    model = new_tiny_model()

    def claim(case: tuple[str, dict]) -> None:
        kind, row = case
        path = tmp_path / f"a.{kind}"
        path.write_bytes(WRITERS[kind]([row], ascii_only=False))
        pairs = loaded(path)
        assert pairs == [PreferencePair(**row)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scores = [side.item() for side in response_logps(model, tiny_tokenizer, pairs)]
        prompt, responses = tokens_by_hand(
            tiny_tokenizer, row["prompt"], (row["chosen"], row["rejected"]), max_length=96
        )
        assert scores == pytest.approx([logp_by_hand(model, prompt, response) for response in responses], rel=1e-4)

    try_all("texts", comparisons(), claim)
