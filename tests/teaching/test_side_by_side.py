"""Texts side by side, in HTML and as lines."""

import pytest

from dpo_notes.teaching.side_by_side import SideBySide


def test_each_prompt_has_its_texts_in_a_row():
    data = SideBySide(["Where?"], {"before": [" Here."], "after": [" There."]})._repr_mimebundle_()
    assert data["text/plain"] == "prompt: Where?\nbefore: Here.\nafter: There.\n"
    places = [data["text/html"].index(word) for word in ("before", "after", "Where?", "Here.", "There.")]
    assert places == sorted(places)


def test_a_missing_text_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        SideBySide(["one", "two"], {"before": ["a"]})
