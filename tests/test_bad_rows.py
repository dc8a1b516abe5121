"""Bad comparisons: each is told in one line, with its place, what came and what was expected."""

import json

import pytest

from dpo_notes.language.pairs import load_pairs
from dpo_notes.maths.errors import InputError

USER = {"role": "user", "content": "q"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in "ab")
TEXTS = {"prompt": "p", "chosen": "a", "rejected": "b"}
CHAT = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}
RESPONSES = "expected chosen and rejected, and mostly prompt"
OBJECT = "expected an object with prompt, chosen and rejected"
FORMS = "expected text or a list of chat messages"
ONE_FORM = "expected all as text or all as chat messages (whole conversations go without a prompt column)"
TEACHES_NOTHING = "chosen equals rejected, which teaches nothing; expected two different responses"
BAD_ROWS = {
    "no chosen": ({"prompt": "p", "text": "x"}, f"no column 'chosen'; there: 'prompt', 'text'; {RESPONSES}"),
    "no rejected": ({"chosen": "b"}, f"no column 'rejected'; there: 'chosen'; {RESPONSES}"),
    "no columns": ({}, f"no column 'chosen'; there: nothing; {RESPONSES}"),
    "no prompt": (
        {"chosen": "a", "rejected": "b"},
        "no column 'prompt'; there: 'chosen', 'rejected'; expected one, as in the rows before",
    ),
    "a list": (["p", "a", "b"], f"a list; {OBJECT}"),
    "null row": (None, f"null; {OBJECT}"),
    "null": (TEXTS | {"chosen": None}, f"chosen is null; {FORMS}"),
    "null prompt": (TEXTS | {"prompt": None}, f"prompt is null; {FORMS}"),
    "number": (TEXTS | {"rejected": 7.5}, f"rejected is a number; {FORMS}"),
    "true": (TEXTS | {"prompt": True}, f"prompt is true or false; {FORMS}"),
    "object": (TEXTS | {"chosen": GOOD}, f"chosen is an object; {FORMS}"),
    "texts": (TEXTS | {"chosen": ["a"]}, "message 1 of chosen is text; expected an object with role and content"),
    "half a pair": (
        TEXTS | {"chosen": "a\ud83d"},
        "chosen holds half a surrogate pair (U+D83D, character 2); expected whole Unicode characters",
    ),
    "empty": (TEXTS | {"rejected": ""}, "rejected is empty; expected a response"),
    "white": (TEXTS | {"chosen": " \n\u3000"}, "chosen is only white space; expected a response"),
    "empty message": (CHAT | {"rejected": [BAD | {"content": ""}]}, "rejected is empty; expected a response"),
    "equal": (TEXTS | {"rejected": "a"}, TEACHES_NOTHING),
    "equal messages": (CHAT | {"rejected": [GOOD]}, TEACHES_NOTHING),
    "text and chat": (
        CHAT | {"prompt": "p"},
        f"prompt is text, chosen is chat messages, rejected is chat messages; {ONE_FORM}",
    ),
    "chat and text": (
        CHAT | {"rejected": "b"},
        f"prompt is chat messages, chosen is chat messages, rejected is text; {ONE_FORM}",
    ),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_told_with_file_line_and_what_was_expected(tmp_path, row, message):
    """The bad row stands on line 3 of JSON Lines and is row 2 of JSON, after a good one."""
    for name, place, text in [
        ("a.jsonl", "line 3", f"{json.dumps(TEXTS)}\n\n{json.dumps(row)}\n"),
        ("a.json", "row 2", json.dumps([TEXTS, row])),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError) as error:
            load_pairs(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}, {place}: {message}"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *[("a.jsonl", b""), ("a.jsonl", b"\xef\xbb\xbf\n \n"), ("a.json", b""), ("a.json", b"[]")],
        *[("a.csv", b""), ("a.csv", b"prompt,chosen,rejected\n")],
    ],
)
def test_a_file_without_rows_is_told(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        load_pairs(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: no rows; expected at least one comparison"


def test_a_broken_line_stops_the_reading_with_its_line(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "", "chosen": "a", "rejected": "b"}\n{"prompt": ""')
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: broken JSON at column 14"):
        load_pairs(tmp_path / "a.jsonl")


def test_an_empty_csv_cell_is_an_empty_response_and_an_empty_prompt_is_allowed(tmp_path):
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected\n,a,b\np,,b\n")
    with pytest.raises(InputError, match=r"a\.csv, line 3: chosen is empty; expected a response"):
        load_pairs(tmp_path / "a.csv")


TURN = "\n\nHuman: Hi\n\nAssistant:"
SHARE = "after the beginning that both share, which is the prompt,"
ORDER = "expected at most one system message, then user and assistant in turn, user last"
BAD_WITHOUT_PROMPT = {
    "prefix": (TURN, f"{TURN} Yes", f"{SHARE} chosen is empty; expected a response"),
    "prefix and space": ("Q\n", "Q\na", f"{SHARE} chosen is empty; expected a response"),
    "only space": ("Q ", "Q a", f"{SHARE} chosen is only white space; expected a response"),
    "equal": (f"{TURN} a", f"{TURN} a", TEACHES_NOTHING),
    "mixed": ("a", [GOOD], f"chosen is text, rejected is chat messages; {ONE_FORM}"),
    "equal conversations": ([USER, GOOD], [USER, GOOD], TEACHES_NOTHING),
    "conversation within the other": (
        [USER, GOOD],
        [USER, GOOD, USER, BAD],
        f"{SHARE} prompt ends with a message from assistant; {ORDER}",
    ),
    "nothing shared": ([GOOD], [BAD], f"{SHARE} prompt has no messages; {ORDER}"),
    "no answer": ([USER], [USER, GOOD], f"{SHARE} chosen has messages from: nothing; expected one"),
    "two answers": (
        [USER, GOOD, USER, GOOD],
        [USER, BAD],
        f"{SHARE} chosen has messages from: 'assistant', 'user', 'assistant'; expected one",
    ),
}


@pytest.mark.parametrize(("chosen", "rejected", "message"), BAD_WITHOUT_PROMPT.values(), ids=BAD_WITHOUT_PROMPT)
def test_a_bad_row_without_prompt_is_told(tmp_path, chosen, rejected, message):
    (tmp_path / "a.json").write_text(json.dumps([{"chosen": chosen, "rejected": rejected}]))
    with pytest.raises(InputError) as error:
        load_pairs(tmp_path / "a.json")
    assert str(error.value).startswith(f"{tmp_path}/a.json, row 1: {message}")


def test_a_prompt_that_comes_late_is_told(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"chosen": "a", "rejected": "b"}, TEXTS]))
    with pytest.raises(InputError, match="row 2: a column 'prompt'; there: .*; expected none, as in the rows before"):
        load_pairs(tmp_path / "a.json")
