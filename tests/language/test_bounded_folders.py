"""A model folder that asks for too much, or for files elsewhere, is refused at once, in one line."""

import json
import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from model_folders import Change, edit, write
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from dpo_notes.cli import main
from dpo_notes.language.load import load_model
from dpo_notes.language.model_folder import check_size
from dpo_notes.language.reward_head import load_reward_model, new_reward_model
from dpo_notes.maths.errors import InputError

MEGABYTE = 10**6


@pytest.fixture(scope="module")
def saved(tmp_path_factory, new_tiny_model, tiny_tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    new_tiny_model().save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path, monkeypatch) -> Path:
    """The tiny GPT-2 as the folder m of an otherwise empty working folder, with good comparisons beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"prompt": "Where?", "chosen": f" {word}.", "rejected": " No."}) + "\n" for word in "abcd")
    )
    return Path(shutil.copytree(saved, "m"))


def sharded(shard: str) -> Change:
    """The weights by an index, which names this file; the file itself is next to the folder."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "x.safetensors")
        index = {"metadata": {}, "weight_map": {"transformer.wte.weight": shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


def large_file(name: str) -> Change:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(100 * MEGABYTE)  # no room on the disk

    return change


def pipe(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def replace(content: str, **pattern: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


def chain(*parts: dict, of: str = "normalizers") -> dict:
    return {"type": "Sequence", of: list(parts)}


steps = partial(edit, "tokenizer.json")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
TIMES_THIRTY = replace("a" * 30, String="a")
CONFIG, SHARDS, TOKENIZER = "m/config.json: ", "m/model.safetensors.index.json: ", "m/tokenizer.json: "
FOLDERS = {
    "a million layers": (edit("config.json", n_layer=10**6), CONFIG + "n_layer is 1000000; expected 1 to 1000"),
    "no layers": (edit("config.json", n_layer=0), CONFIG + "n_layer is 0; expected 1 to 1000"),
    "layers below zero": (edit("config.json", n_layer=-1), CONFIG + "n_layer is -1; expected 1"),
    "layers as text": (edit("config.json", n_layer="2"), "cannot load a model from m: "),
    "heads below zero": (edit("config.json", n_head=-2), CONFIG + "n_head is -2; expected 1"),
    "null heads": (edit("config.json", n_head=None), "cannot load a model from m: "),
    "a trillion words": (edit("config.json", vocab_size=10**12), CONFIG + "vocab_size is 1000000000000; expected 1"),
    "a trillion labels": (edit("config.json", num_labels=10**12), CONFIG + "num_labels is 1000000000000"),
    "a wide layer": (edit("config.json", n_inner=10**12), CONFIG + "n_inner is 1000000000000; expected"),
    "ten million words": (
        edit("config.json", vocab_size=10**7),
        CONFIG + "asks for a model of 640,028,544 parameters, but the weight files have",
    ),
    "fifty million positions": (edit("config.json", n_positions=5 * 10**7), CONFIG + "asks for a model of "),
    "4,000 digits": (write("config.json", '{"x": ' + "9" * 4000 + "}"), CONFIG + "x is a number of 4000 digits"),
    "NaN": (edit("config.json", layer_norm_epsilon=float("nan")), CONFIG + "layer_norm_epsilon is NaN"),
    "no epsilon": (edit("config.json", layer_norm_epsilon=-1.0), "scores that are NaN or infinite; expected finite"),
    "a list": (write("config.json", "[1, 2]"), CONFIG + "holds a list; expected an object"),
    "text": (write("config.json", '"gpt2"'), CONFIG + "holds text; expected an object"),
    "nested brackets": (
        write("config.json", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        CONFIG + "nested more than",
    ),
    "nested objects": (
        write("config.json", '{"a":' * 300 + "1" + "}" * 300),
        CONFIG + "nested more than 50 deep; expected a file as transformers writes it",
    ),
    "100 MB": (large_file("config.json"), CONFIG + "100,000,000 bytes; expected at most 67,108,864"),
    "100 MB of tokenizer": (large_file("tokenizer.json"), TOKENIZER + "100,000,000 bytes"),
    "a pipe": (pipe, CONFIG + "not a regular file; expected one, not a pipe or a device"),
    "generation by a list": (write("generation_config.json", "[]"), "m/generation_config.json: holds a list"),
    "shards outside": (sharded("../x.safetensors"), SHARDS + "names the shard '../x.safetensors'"),
    "shards by the full path": (sharded("/etc/passwd"), SHARDS + "names the shard '/etc/passwd'"),
    "shards that are missing": (
        sharded("y.safetensors"),
        "names the shard 'y.safetensors', which is not a .safetensors",
    ),
    "the index as its own shard": (
        sharded("model.safetensors.index.json"),
        "names the shard 'model.safetensors.index.json', which is not a .safetensors file in this folder",
    ),
    "an index without shards": (
        lambda folder: sharded("x")(folder) or write("model.safetensors.index.json", '{"weight_map": 5}')(folder),
        SHARDS + "no weight_map of weights to files",
    ),
    "a tokenizer that is a list": (write("tokenizer.json", "[1]"), TOKENIZER + "holds a list"),
    "a tokenizer of another form": (write("tokenizer.json", '{"model": 5}'), "cannot load a tokenizer from m: "),
    "a text times thirty, six times": (
        steps(normalizer=chain(*[TIMES_THIRTY] * 6)),
        TOKENIZER + "its normalizer and pre_tokenizer can make a text 1.46e+09 times as long; expected at most 64",
    ),
    "something before each letter": (
        steps(normalizer=chain(*[replace("b" * 20, Regex="(?=a)")] * 2)),
        "can make a text 882 times as long",
    ),
    "nothing to be replaced": (steps(normalizer=replace("b" * 99, Regex="x*")), "can make a text 200 times as long"),
    "a long beginning, doubled": (
        steps(normalizer=chain({"type": "Prepend", "prepend": "a" * 99}, replace("aa", String="a"))),
        "can make a text 400 times as long",
    ),
    "bytes as letters, eight times": (
        steps(pre_tokenizer=chain(*[BYTES] * 8, of="pretokenizers")),
        "can make a text 256 times as long",
    ),
    "tokens that grow": (
        steps(decoder=chain(*[TIMES_THIRTY] * 4, of="decoders")),
        "its decoder can make a text 8.1e+05 times as long",
    ),
    "a pattern in the decoder": (
        steps(decoder=replace("b", Regex="(a+)+$")),
        "a regular expression in its decoder, which",
    ),
    "a long pattern": (
        steps(normalizer=replace("b", Regex="(?i)" + "ss" * 10_000)),
        TOKENIZER + "a regular expression of 20004 characters; expected at most 10000",
    ),
    "too many added tokens": (
        steps(added_tokens=[{"id": 400 + n, "content": f"<{n}>"} for n in range(100_001)]),
        TOKENIZER + "100001 added tokens; expected at most 100000",
    ),
    "a runaway pattern": (
        steps(normalizer=replace("b", Regex="(a+ ?b?)+$"), pre_tokenizer=None, model=None),
        "cannot load a tokenizer from m: ",
    ),
    "an empty end of text": (edit("tokenizer_config.json", eos_token=""), "m: the "),
    "a length as text": (edit("tokenizer_config.json", model_max_length="long"), "the tokenizer cannot turn 1 texts"),
    "another side": (edit("tokenizer_config.json", padding_side="middle"), "cannot load a tokenizer from m: "),
    "an end that is a number": (edit("tokenizer_config.json", eos_token=5), "cannot load a tokenizer from m: "),
}


@pytest.mark.parametrize(("break_it", "message"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_asks_for_too_much_gets_one_line_at_once_and_exit_code_2(break_it, message, folder, capfd):
    break_it(folder)
    before, start = sorted(Path().rglob("*")), time.process_time()
    assert main(["train", "--model", "m", "--data", "a.jsonl", "--output", "run"]) == 2
    assert time.process_time() - start < 10
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("dpo-notes: ") and message in err
    assert err.count("\n") == 1 and len(err) < 700
    assert sorted(Path().rglob("*")) == before


def test_a_configuration_without_counts_of_its_own_is_built_within_limits(folder, monkeypatch):
    """If the names are unknown, as in a new architecture, the model is built without numbers and in limited time."""
    edit("config.json", n_layer=900)(folder)
    monkeypatch.setattr("dpo_notes.language.model_folder.SECONDS_TO_BUILD", 0.2)
    with pytest.raises(
        InputError, match=r"m/config\.json: building its model takes more than 0\.2 seconds; expected sizes"
    ):
        check_size(AutoModelForCausalLM, folder)


def test_a_reward_models_folder_is_bounded_likewise(folder, tiny_tokenizer, new_tiny_model):
    reward_model, tokenizer = new_reward_model(new_tiny_model(), tiny_tokenizer)
    reward_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    load_reward_model(folder)
    for changes, message in (
        ({"n_layer": 10**6}, "n_layer is 1000000; expected 1 to 1000"),
        ({"vocab_size": 9_999_999}, "asks for a model of "),
        ({"num_labels": 10**9}, "num_labels is 1000000000"),
    ):
        edit("config.json", **changes)(folder)
        with pytest.raises(InputError) as error:
            load_reward_model(folder)
        assert message in str(error.value) and "\n" not in str(error.value)
        reward_model.config.save_pretrained(folder)


@pytest.fixture
def llama(folder, tiny_tokenizer) -> Path:
    """A Llama, whose numbers go by other names and whose positions are in no weight."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=400, max_position_embeddings=96, **sizes))
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"max_position_embeddings": 0},
        {"max_position_embeddings": 10**12},
        {"max_position_embeddings": "far"},
        {"num_hidden_layers": 10**5},
        {"num_key_value_heads": 0},
        {"num_key_value_heads": 3},
        {"intermediate_size": 10**9},
        {"head_dim": 10**7},
        {"rms_norm_eps": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": "wide"}},
        {"rope_parameters": [[[]]]},
        {"hidden_act": "none of these"},
    ],
    ids=str,
)
def test_what_another_architecture_asks_for_is_bounded_too(llama, changes, capfd):
    load_model(llama)
    edit("config.json", **changes)(llama)
    start = time.process_time()
    assert main(["sample", "--model", "m", "--prompt", "Where?", "--max-new-tokens", "2"]) == 2
    assert time.process_time() - start < 5
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("dpo-notes: ") and len(err) < 700


def test_a_folder_with_large_files_that_are_not_read_loads_as_before(folder):
    large_file("corpus.txt")(folder)
    large_file("data.json")(folder)
    load_model(folder)
