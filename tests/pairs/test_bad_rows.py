"""Bad comparisons: one line each, with place, what came and what was expected. More: test_sturdy_inputs.py."""

import json

import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair, load_pairs

USER = {"role": "user", "content": "q"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in "ab")
TEXTS = {"prompt": "p", "chosen": "a", "rejected": "b"}
CHAT = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}
RESPONSES = "expected chosen, rejected and usually prompt"
OBJECT = "expected an object with prompt, chosen and rejected"
FORMS = "expected text or a list of chat messages"
ONE_FORM = "expected all as text or all as chat messages (whole conversations go without a prompt column)"
TEACHES_NOTHING = "chosen equals rejected, which teaches nothing; expected two different responses"
BAD_ROWS = {
    "no rejected": ({"chosen": "b"}, f"no column 'rejected'; found: 'chosen'; {RESPONSES}"),
    "no columns": ({}, f"no column 'chosen'; found: nothing; {RESPONSES}"),
    "a list": (["p", "a", "b"], f"a list; {OBJECT}"),
    "null row": (None, f"null; {OBJECT}"),
    "null prompt": (TEXTS | {"prompt": None}, f"prompt is null; {FORMS}"),
    "true": (TEXTS | {"prompt": True}, f"prompt is true or false; {FORMS}"),
    "object": (TEXTS | {"chosen": GOOD}, f"chosen is an object; {FORMS}"),
    "half a pair": (
        TEXTS | {"chosen": "a\ud83d"},
        "chosen holds half a surrogate pair (U+D83D, character 2); expected whole Unicode characters",
    ),
    "white": (TEXTS | {"chosen": " \n\u3000"}, "chosen is only white space; expected a response"),
    "empty message": (CHAT | {"rejected": [BAD | {"content": ""}]}, "rejected is empty; expected a response"),
    "equal messages": (CHAT | {"rejected": [GOOD]}, TEACHES_NOTHING),
    "text and chat": (CHAT | {"prompt": "p"}, "prompt is text, chosen is {0}, rejected is {0}; " + ONE_FORM),
    "chat and text": (CHAT | {"rejected": "b"}, "prompt is {0}, chosen is {0}, rejected is text; " + ONE_FORM),
}


@pytest.mark.parametrize(("row", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_reported_with_file_line_and_what_was_expected(tmp_path, row, message):
    """The bad row is on line 3 of JSON Lines and is row 2 of JSON, after a good one."""
    for name, place, text in [
        ("a.jsonl", "line 3", f"{json.dumps(TEXTS)}\n\n{json.dumps(row)}\n"),
        ("a.json", "row 2", json.dumps([TEXTS, row])),
    ]:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError) as error:
            load_pairs(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}, {place}: {message.format('chat messages')}"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        *[("a.jsonl", b"\xef\xbb\xbf\n \n"), ("a.json", b""), ("a.json", b"[]")],
        *[("a.csv", b""), ("a.csv", b"prompt,chosen,rejected\n")],
    ],
)
def test_a_file_without_rows_is_reported(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        load_pairs(tmp_path / name)
    assert str(error.value) == f"{tmp_path / name}: no rows; expected at least one comparison"


TURN = "\n\nHuman: Hi\n\nAssistant:"
SHARE = "after the shared beginning, which is the prompt,"
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
def test_a_bad_row_without_prompt_is_reported(tmp_path, chosen, rejected, message):
    (tmp_path / "a.json").write_text(json.dumps([{"chosen": chosen, "rejected": rejected}]))
    with pytest.raises(InputError) as error:
        load_pairs(tmp_path / "a.json")
    assert str(error.value).startswith(f"{tmp_path}/a.json, row 1: {message}")


def test_a_prompt_that_comes_late_is_reported(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"chosen": "a", "rejected": "b"}, TEXTS]))
    with pytest.raises(InputError, match="row 2: a column 'prompt'; found: .*; expected none, as in the rows before"):
        load_pairs(tmp_path / "a.json")


def test_skipped_rows_are_counted_in_one_warning_that_shows_the_first_three(tmp_path):
    """Five of seven rows: broken JSON, an empty response, a list, bytes that are no text, equal responses."""
    good = [json.dumps(TEXTS | {"prompt": name}).encode() for name in "xy"]
    empty, equal = (json.dumps(TEXTS | {"chosen": text}).encode() for text in ("", "b"))
    bad = [b"{", empty, b"[]", b'"\xff"', equal]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join([*bad[:2], good[0], *bad[2:], good[1]]))
    with pytest.warns(UserWarning) as warned:
        assert [pair.prompt for pair in load_pairs(path, on_bad_row="skip")] == ["x", "y"]
    [message] = [str(warning.message).splitlines() for warning in warned]
    assert message == [
        f"{path}: bad rows left out: 5 of 7. The first of them:",
        f"  {path}, line 1: broken JSON at column 2 ({UNQUOTED}); expected one object on the line",
        f"  {path}, line 2: chosen is empty; expected a response",
        f"  {path}, line 4: a list; {OBJECT}",
    ]


def test_a_line_of_csv_that_is_not_utf8_is_a_bad_row_and_the_lines_after_it_are_read(tmp_path):
    """Within quotes too, over two lines; the byte may be any letter, but not a comma or a quote."""
    path = tmp_path / "a.csv"
    path.write_bytes(b'prompt,chosen,rejected\np,\xff,b\nq,"c\n\xe4",d\nr,e,f\n')
    with pytest.raises(InputError, match=r"line 2: not valid UTF-8 \(invalid start byte: 0xff, byte 3 of the line\)"):
        load_pairs(path)
    with pytest.warns(UserWarning, match=r"(?s)left out: 2 of 3.*line 4: not valid UTF-8 .*0xe4, byte 1 of the line"):
        assert load_pairs(path, on_bad_row="skip") == [PreferencePair("r", "e", "f")]


UNQUOTED = "Expecting property name enclosed in double quotes"
NONE = "none of {} rows is a comparison"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", json.dumps(TEXTS).encode("utf-16"), f"a.jsonl: {NONE.format(1)}; a.jsonl, line 1: not"),
        ("a.csv", "chosen,rejected\na,b\n".encode("utf-16"), "a.csv, line 1: not valid UTF-8"),
        ("a.csv", b"prompt,chosen\np,a\n", f"a.csv: {NONE.format(1)}; a.csv, line 2: no column 'rejected'"),
        ("a.csv", b'prompt,chosen,rejected\np,a,b\np,"a,b\n', "a.csv, line 3: broken CSV in the row that starts here"),
        ("a.json", json.dumps([TEXTS, TEXTS]).encode()[:-1], "a.json, line 1: broken JSON at column"),
        ("a.json", b"[1, 2]", f"a.json: {NONE.format(2)}; a.json, row 1: a number"),
        ("a.jsonl", b"", "a.jsonl: no rows; expected at least one comparison"),
    ],
)
def test_what_leaves_nothing_or_hides_what_follows_it_is_not_skipped(tmp_path, monkeypatch, name, data, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        load_pairs(name, on_bad_row="skip")
    assert str(error.value).startswith(message)


def test_a_further_check_finds_more_bad_rows_with_their_lines(tmp_path):
    def check(pair: PreferencePair) -> None:
        if "!" in pair.prompt:
            raise InputError("prompt is loud; expected a quiet one")

    path = tmp_path / "a.json"
    path.write_text(json.dumps([TEXTS, TEXTS | {"prompt": "p!"}]))
    with pytest.raises(InputError) as error:
        load_pairs(path, check=check)
    assert str(error.value) == f"{path}, row 2: prompt is loud; expected a quiet one"
    with pytest.warns(UserWarning, match="bad rows left out: 1 of 2"):
        assert load_pairs(path, on_bad_row="skip", check=check) == [PreferencePair(**TEXTS)]


def test_what_becomes_of_a_bad_row_is_one_of_two_words(tmp_path):
    with pytest.raises(InputError, match="^on_bad_row is 'ignore'; expected one of stop, skip$"):
        load_pairs(tmp_path, on_bad_row="ignore")
