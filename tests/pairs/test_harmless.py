"""Text from elsewhere commands no terminal, begins no formula, and is no markup."""

import csv
import io

import pytest

from dpo_notes.cli import main
from dpo_notes.commands import sample as sample_command
from dpo_notes.language import generate
from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.harmless import for_markdown, for_table, for_terminal

CLEAR_SCREEN = "\x1b[2J"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("anna\nbob: 6 of 6", r"anna\nbob: 6 of 6"),
        ("a\rb", r"a\rb"),
        (f"{CLEAR_SCREEN}ok", r"\x1b[2Jok"),
        ("\x9b31m", r"\x9b31m"),  # the same command in one character
        ("\x1b]8;;http://example.org\x07here", r"\x1b]8;;http://example.org\x07here"),
        ("gnp.\u202eexe", r"gnp.\u202eexe"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("\udcff", r"\udcff"),  # of a file name that is not UTF-8
        ("Zoë, 東京, नमस्\u200dते", "Zoë, 東京, नमस्\u200dते"),
    ],
)
def test_the_terminal_sees_one_line_without_commands(text, shown):
    assert for_terminal(text) == shown


def test_the_text_of_a_model_keeps_its_lines_and_nothing_else():
    assert for_terminal("one\n\ttwo\r\x1b[1m", lines=True) == "one\n\ttwo\\r\\x1b[1m"


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "＝", "＋", "﹣", "＠", " =", "\t=", "\r=", "\ufeff=", "\u200b=", "'=", '"=']
)
@pytest.mark.parametrize("before", ["", "x;", "x; ", ";"])
def test_no_cell_begins_a_formula_whether_commas_or_semicolons_part_the_cells(start, before):
    file = io.StringIO()
    csv.writer(file).writerow(["who", for_table(f"{before}{start}cmd|' /C calc'!A0"), "end"])
    for separator in ",;":
        [row] = csv.reader([file.getvalue().strip()], delimiter=separator)
        assert not [cell for cell in row if cell.lstrip(' "\ufeff\u200b')[:1] in tuple("=+-@＝＋－＠﹣")]


def test_ordinary_words_stand_in_a_table_as_they_are():
    for text in ("not yet: -1.5, and 3 = 3", "two-words; and more", "Zoë", "a@b"):
        assert for_table(text) == text


@pytest.mark.parametrize(
    "text", ["a\r# Heading", "a\n# Heading", "a\x0b- item", "a\u2028> quote", "x\x85| y | z", "a\x1dls"]
)
def test_an_answer_in_a_markdown_table_stays_in_its_cell(text):
    shown = for_markdown(text)
    assert len(shown.splitlines()) == 1 and "<br>" in shown and "|" not in shown


def test_markup_of_an_answer_is_shown_and_not_applied():
    shown = for_markdown("**b** _i_ `c` [l](u) ![p](u) <b> & | $x$ ~~s~~ \\| # \x1b[1m")
    assert not set(shown) & set("*_`[]|$~!\\<>\x1b")
    assert "&#42;" in shown and "&lt;b&gt; &amp;" in shown


def test_the_command_line_prints_an_error_on_one_line(monkeypatch, capsys):
    def refuse(args):
        raise InputError(f"{CLEAR_SCREEN}a\nanna: 6 of 6")

    monkeypatch.setattr(sample_command, "run", refuse)
    assert main(["sample", "--prompt", "x"]) == 2
    assert capsys.readouterr().err == "dpo-notes: \\x1b[2Ja\\nanna: 6 of 6\n"


def test_answers_of_a_model_reach_the_terminal_without_commands(monkeypatch, capsys):
    monkeypatch.setattr(generate, "sample", lambda *_, **__: [f" one\n{CLEAR_SCREEN}two"])
    assert main(["sample", "--prompt", "x"]) == 0
    assert capsys.readouterr().out == "x one\n\\x1b[2Jtwo\n"


def test_a_file_whose_name_holds_commands_is_named_without_them(tmp_path, capsys):
    path = tmp_path / f"a{CLEAR_SCREEN}\nb.jsonl"
    path.write_text('{"prompt": "p", "chosen": " a", "rejected": " b"}\n' * 2 + "{\n")
    assert main(["evaluate", "--model", "embedded", "--data", str(path)]) == 2
    said = capsys.readouterr().err
    assert "\x1b" not in said and said.count("\n") == 1 and r"\x1b[2J\nb.jsonl, line 3" in said


def test_a_folder_whose_name_holds_a_line_break_is_refused_on_one_line(tmp_path, capsys):
    (tmp_path / "a\nanna: 6 of 6").touch()
    assert main(["train", "--output", str(tmp_path / "a\nanna: 6 of 6")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
