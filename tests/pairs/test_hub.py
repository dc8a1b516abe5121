"""A hub name: its rows and their places, and one line where the hub is out of reach."""

import types

import datasets
import huggingface_hub
import pytest

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs.load import PreferencePair, load_pairs

CHAT = {
    "prompt": [{"role": "user", "content": "q"}],
    "chosen": [{"role": "assistant", "content": "a"}],
    "rejected": [{"role": "assistant", "content": "b"}],
}


def test_a_hub_name_reads_the_split_with_its_row_numbers(monkeypatch):
    rows = [CHAT | {"prompt": "p"}]
    asked = {}
    monkeypatch.setattr(datasets, "load_dataset", lambda name, **options: asked.update({name: options}) or rows)
    with pytest.raises(InputError, match=r"^some/name \[test\], row 1: prompt is text, chosen is chat messages"):
        load_pairs("some/name", "test")
    rows[0] = CHAT
    assert load_pairs("other") == [PreferencePair(**CHAT)]
    assert asked == {"some/name": {"split": "test"}, "other": {"split": "train"}}


def test_a_hub_name_without_network_is_reported_in_one_line(monkeypatch):
    """With the hub offline, and with a hub that refuses: then `datasets`, which would retry for long, is not asked."""
    with pytest.raises(InputError) as offline:
        load_pairs("nobody/nothing")
    assert "nobody/nothing: no such file or folder, and the split 'train' of a hub data set" in str(offline.value)

    def refuse(url: str, timeout: float):
        raise OSError("Connection\nrefused " + "again " * 100_000)

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", None)
    monkeypatch.setattr(huggingface_hub, "get_session", lambda: types.SimpleNamespace(head=refuse))
    with pytest.raises(InputError) as refused:
        load_pairs("nobody/nothing")
    assert "the Hugging Face hub does not answer (Connection refused again again" in str(refused.value)
    assert "…); expected a path, or a network" in str(refused.value) and len(str(refused.value)) < 600
    assert "\n" not in str(offline.value) + str(refused.value)
