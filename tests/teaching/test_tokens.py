"""Tokens as a reader can see them."""

from dpo_notes.teaching.tokens import drawable, token_words


def test_spaces_and_line_ends_are_seen_and_the_end_has_a_name(tiny_tokenizer):
    ids = [*tiny_tokenizer("The film\n")["input_ids"], tiny_tokenizer.eos_token_id]
    words = token_words(tiny_tokenizer, ids)
    assert "".join(words) == "The␣film⏎end of text" and len(words) == len(ids)


def test_half_a_letter_is_shown_as_one_sign_a_byte(tiny_tokenizer):
    ids = tiny_tokenizer("上")["input_ids"]
    assert token_words(tiny_tokenizer, ids) == ["�"] * 3


def test_what_the_font_lacks_is_a_box():
    assert drawable("␣Où? π 上海 �") == "␣Où? π □□ �"
