"""Whatever a file asks for, the answer comes in time, in little memory and in one line: templates, tokenizers, configs, Parquet."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dpo_notes.cli import main
from dpo_notes.language import chat, tokenizing
from dpo_notes.language.bounded import OverLimit, Panicked, run_native, run_python
from dpo_notes.language.chat import render
from dpo_notes.language.files import read_rows
from dpo_notes.language.load import load_model
from dpo_notes.language.model_folder import check_size
from dpo_notes.language.pairs import PreferencePair, load_pairs
from dpo_notes.language.reward_head import load_reward_model, new_reward_model
from dpo_notes.language.tokenizing import texts_of, token_ids
from dpo_notes.maths.errors import InputError

MEGABYTE = 10**6
SPARE = 3 * 2**30  # address space that a test may take beyond what it had, so that a bomb ends the test and no more


@pytest.fixture(autouse=True)
def bounded_memory():
    """A bomb that goes off fails its test with MemoryError instead of ending everything."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + SPARE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def chat_pair(text: str = "Hi") -> PreferencePair:
    user, good, bad = ([{"role": role, "content": said}] for role, said in [("user", text), *[("assistant", "")] * 2])
    good[0]["content"], bad[0]["content"] = "Hello", "What?"
    return PreferencePair(user, good, bad)


# Chat templates.

LOOPS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
GROW = "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x | length }}"
FAIL, SLOW, LARGE = "refuses the messages (", "does not end within 0.3 seconds; expected", "asks for more than 1 GiB"
TEMPLATES = {
    "divides by zero": ("{{ 1 / 0 }}", FAIL + "division by zero)"),
    "adds text to a number": ("{{ 'a' + 1 }}", FAIL),
    "asks for an item of a number": ("{{ 5['a'].b }}", FAIL),
    "calls text": ("{{ 'a'() }}", FAIL),
    "includes a file": ("{% include '/etc/passwd' %}", FAIL + "no loader"),
    "imports a file": ("{% import 'a.jinja' as a %}", FAIL + "no loader"),
    "extends a file": ("{% extends 'a.jinja' %}", FAIL + "no loader"),
    "undefined within undefined": ("{{ a.b.c }}", FAIL + "'a' is undefined)"),
    "nothing but undefined": ("{{ mesages }}", "makes the same text of chosen and rejected"),
    "an unknown filter": ("{{ messages | shorten }}", FAIL),
    "loops in loops": (LOOPS, SLOW),
    "a power of a power": ("{{ (9 ** (9 ** 9)) % 10 }}", SLOW),
    "a power of variables": ("{% set n = 9 %}{{ (n ** (n ** n)) % 10 }}", SLOW),
    "long words of filters": ("{{ lipsum(n=100000) }}", SLOW),
    "lists in a loop": ("{% for i in range(100000) %}{{ range(100000) | list | length }}{% endfor %}", SLOW),
    "a macro that calls itself": ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", FAIL + "maximum recursion"),
    "a block within itself": ("{% block a %}{{ self.a() }}{% endblock %}", FAIL + "maximum recursion"),
    "ten billion letters": ("{{ 'a' * 10**10 }}", LARGE),
    "a width of ten billion": ("{{ '%10000000000d' % 1 }}", LARGE),
    "centred in ten billion": ("{{ 'a' | center(10**10) }}", LARGE),
    "text that doubles": (GROW, LARGE),
    "ten million letters": ("{{ 'a' * 10**7 }}", "makes 10000000 characters of messages that should give"),
    "ten megabytes long": ("a" * 10 * MEGABYTE, "is text of 10000000 characters; expected text of at most 1000000"),
    "nested ifs": ("{% if 1 %}" * 5000 + "{% endif %}" * 5000, FAIL),
    "nested brackets": ("{{ " + "[" * 20_000 + "]" * 20_000 + " }}", FAIL),
    "not a text": (5, "is a number; expected text"),
}


@pytest.fixture
def talker(tiny_tokenizer, monkeypatch):
    """A tokenizer of this test's own, whose template has 0.3 seconds."""
    monkeypatch.setattr(chat, "SECONDS_A_PAIR", 0.3)
    return PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer.backend_tokenizer, eos_token="<|endoftext|>")


def assert_one_line(call: Callable[[], object], told: str, *, seconds: float) -> None:
    start = time.process_time()
    with pytest.raises(InputError) as error:
        call()
    assert time.process_time() - start < seconds
    assert told in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600
    assert "expected" in str(error.value)


@pytest.mark.parametrize(("template", "told"), TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_ends_in_time_and_in_memory_and_is_told_in_one_line(talker, template, told):
    talker.chat_template = template
    assert_one_line(lambda: render(talker, chat_pair()), f"the chat template {told}", seconds=5)


@pytest.mark.parametrize(
    ("template", "told"),
    [(LOOPS, SLOW), ("{{ lipsum(n=100000) }}", SLOW), ("{{ 1 / 0 }}", FAIL), ("{{ 'a' * 10**10 }}", LARGE)],
)
def test_a_template_ends_in_another_thread_too(talker, template, told):
    talker.chat_template, found = template, []

    def work() -> None:
        try:
            render(talker, chat_pair())
        except InputError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive() and told in found[0]


def test_a_template_that_hangs_for_one_message_is_told_with_its_line(talker, tmp_path):
    talker.chat_template = "{% if messages[0].content == 'x3' %}" + LOOPS + "{% endif %}" + chat.PLAIN_CHAT_TEMPLATE
    rows = [
        {"prompt": [{"role": "user", "content": f"x{number}"}]}
        | {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
        for number in range(6)
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"a\.jsonl, line 4: the chat template does not end within 0\.3 seconds"):
        load_pairs(path, check=lambda pair: render(talker, pair))
    with pytest.warns(UserWarning, match="bad rows left out: 1 of 6"):
        assert len(load_pairs(path, check=lambda pair: render(talker, pair), on_bad_row="skip")) == 5


def test_after_a_template_timers_handlers_and_limits_are_as_before(talker):
    """SIGALRM is another's: pytest-timeout uses it. The processor's timer is set as it was, and memory is free again."""
    old = signal.signal(signal.SIGALRM, lambda *given: None)
    signal.setitimer(signal.ITIMER_REAL, 500)
    memory = resource.getrlimit(resource.RLIMIT_AS)
    for talker.chat_template in (None, LOOPS, "{{ 'a' * 10**10 }}"):
        try:
            render(talker, chat_pair())
        except InputError:
            pass
        assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0) and resource.getrlimit(resource.RLIMIT_AS) == memory
        assert 400 < signal.getitimer(signal.ITIMER_REAL)[0] < 500
        assert sys.gettrace() is None or "coverage" in str(sys.gettrace())
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


def test_an_exception_handler_within_does_not_swallow_the_end():
    def stubborn() -> None:
        while True:
            try:
                sum(range(1000))
            except Exception:  # noqa: BLE001, S110
                pass

    with pytest.raises(OverLimit):
        run_python(stubborn, seconds=0.2, extra_bytes=2**30)


# Tokenizers.


def words_tokenizer(**parts: object) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<e>": 2, "aaaaaaaaaaaaaaaaaaaa!": 3}, unk_token="a"))
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<e>")


ALMOST = "a" * 20 + "!"  # (a+)+$ tries a million ways at each of its letters: just below the library's own limit
RUNAWAY = {
    "splits": ({"pre_tokenizer": pre_tokenizers.Split(Regex(r"(a+)+$"), "isolated")}, "a" * 40 + "!", "retry-limit"),
    "looks ahead": ({"pre_tokenizer": pre_tokenizers.Split(Regex(r"(?=(a+)+b)"), "removed")}, "a" * 60, "retry-limit"),
    "normalizes": ({"normalizer": normalizers.Replace(Regex(r"(a+a+)+b"), "c")}, "a" * 40 + "!", "retry-limit"),
}


@pytest.mark.parametrize(("parts", "text", "told"), RUNAWAY.values(), ids=RUNAWAY)
def test_a_tokenizer_that_panics_is_told_in_one_line_and_nothing_else_is_written(parts, text, told, capfd):
    tokenizer = words_tokenizer(**parts)
    assert_one_line(lambda: token_ids(tokenizer, ["a", text]), told, seconds=5)
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_that_tries_everything_is_given_up(monkeypatch):
    """Each run of letters stays below the library's limit, and there are many. The text stays for a second, no longer."""
    monkeypatch.setattr(tokenizing, "SECONDS_AT_ONCE", 0.3)
    tokenizer = words_tokenizer(pre_tokenizer=pre_tokenizers.Split(Regex(r"(a+)+$"), "isolated"))
    with pytest.raises(
        InputError, match="the tokenizer did not turn 2 texts into tokens within 0 seconds; expected one"
    ):
        token_ids(tokenizer, ["a", ALMOST * 100])


def test_texts_are_tokenized_some_at_a_time_and_come_out_in_order(tiny_tokenizer, monkeypatch):
    texts = ["Where is Paris?", "", "In France.", "a" * 50, "b"]
    whole = tiny_tokenizer(texts, add_special_tokens=False)["input_ids"]
    for at_once in (1, 16, 30, 500):
        monkeypatch.setattr(tokenizing, "CHARACTERS_AT_ONCE", at_once)
        assert token_ids(tiny_tokenizer, texts) == whole
    assert token_ids(tiny_tokenizer, []) == []
    assert texts_of(tiny_tokenizer, whole) == texts


def test_what_is_written_to_the_standard_error_meanwhile_comes_out_afterwards(capfd):
    def speak(end: type[BaseException] | None) -> int:
        os.write(2, b"heard\n")
        if end:
            raise end("why")
        return 7

    assert run_native(lambda: speak(None), seconds=9) == 7 and capfd.readouterr().err == "heard\n"
    with pytest.raises(KeyError):
        run_native(lambda: speak(KeyError), seconds=9)
    assert capfd.readouterr().err == "heard\n"
    with pytest.raises(Panicked, match="why"):  # native code panics with what is no Exception, and writes pages
        run_native(lambda: speak(SystemExit), seconds=9)
    assert capfd.readouterr().err == ""


# Folders of models.


@pytest.fixture(scope="module")
def saved(tmp_path_factory, new_tiny_model, tiny_tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    new_tiny_model().save_pretrained(folder)
    tiny_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path, monkeypatch) -> Path:
    """The tiny GPT-2 as the folder m of an otherwise empty working folder, beside good comparisons."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"prompt": "Where?", "chosen": f" {word}.", "rejected": " No."}) + "\n" for word in "abcd")
    )
    return Path(shutil.copytree(saved, "m"))


def edit(name: str, **changes: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(content | changes))

    return change


def write(name: str, content: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(content)


def sharded(shard: str) -> Callable[[Path], object]:
    """The weights by an index, which names this file for them; the file itself stands beside the folder."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "x.safetensors")
        index = {"metadata": {}, "weight_map": {"transformer.wte.weight": shard}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    return change


def large_file(name: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(100 * MEGABYTE)  # no room on the disk

    return change


def pipe(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def steps(**parts: object) -> Callable[[Path], object]:
    return edit("tokenizer.json", **parts)


def replace(content: str, **pattern: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


def chain(*parts: dict, of: str = "normalizers") -> dict:
    return {"type": "Sequence", of: list(parts)}


TIMES_THIRTY = replace("a" * 30, String="a")
CONFIG = "m/config.json: "
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
        CONFIG + "asks for a model of 320,028,544 parameters, but the weight files have",
    ),
    "fifty million positions": (edit("config.json", n_positions=5 * 10**7), CONFIG + "asks for a model of "),
    "a number of 4,000 digits": (
        write("config.json", '{"model_type": "gpt2", "x": ' + "9" * 4000 + "}"),
        CONFIG + "x is a number of 4000 digits",
    ),
    "NaN": (edit("config.json", layer_norm_epsilon=float("nan")), CONFIG + "layer_norm_epsilon is NaN"),
    "an infinite epsilon": (
        edit("config.json", layer_norm_epsilon=-1.0),
        "scores that are NaN or infinite; expected finite numbers",
    ),
    "a list": (write("config.json", "[1, 2]"), CONFIG + "holds a list; expected an object"),
    "text": (write("config.json", '"gpt2"'), CONFIG + "holds text; expected an object"),
    "nested brackets": (
        write("config.json", '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"),
        CONFIG + "nested more than 50 deep",
    ),
    "nested objects": (
        write("config.json", '{"a":' * 300 + "1" + "}" * 300),
        CONFIG + "nested more than 50 deep; expected a file as transformers writes it",
    ),
    "100 MB": (large_file("config.json"), CONFIG + "100,000,000 bytes; expected at most 67,108,864"),
    "100 MB of tokenizer": (large_file("tokenizer.json"), "m/tokenizer.json: 100,000,000 bytes"),
    "a pipe": (pipe, CONFIG + "no regular file; expected one, not a pipe or a device"),
    "generation by a list": (write("generation_config.json", "[]"), "m/generation_config.json: holds a list"),
    "shards outside": (
        sharded("../x.safetensors"),
        "m/model.safetensors.index.json: names the shard '../x.safetensors'",
    ),
    "shards by the full path": (
        sharded("/etc/passwd"),
        "m/model.safetensors.index.json: names the shard '/etc/passwd'",
    ),
    "shards that are missing": (sharded("y.safetensors"), "names the shard 'y.safetensors', which is no .safetensors"),
    "the index as its own shard": (
        sharded("model.safetensors.index.json"),
        "names the shard 'model.safetensors.index.json', which is no .safetensors file of this folder",
    ),
    "an index without shards": (
        lambda folder: sharded("x")(folder) or write("model.safetensors.index.json", '{"weight_map": 5}')(folder),
        "m/model.safetensors.index.json: no weight_map of weights to files",
    ),
    "a tokenizer that is a list": (write("tokenizer.json", "[1]"), "m/tokenizer.json: holds a list"),
    "a tokenizer of another form": (write("tokenizer.json", '{"model": 5}'), "cannot load a tokenizer from m: "),
    "a text times thirty, six times": (
        steps(normalizer=chain(*[TIMES_THIRTY] * 6)),
        "m/tokenizer.json: its normalizer and pre_tokenizer can make a text 1.46e+09 times as long; expected at most 64",
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
        steps(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}] * 8,
            }
        ),
        "can make a text 256 times as long",
    ),
    "tokens that grow": (
        steps(decoder=chain(*[TIMES_THIRTY] * 4, of="decoders")),
        "its decoder can make a text 8.1e+05 times as long",
    ),
    "a pattern in the decoder": (
        steps(decoder=replace("b", Regex="(a+)+$")),
        "m/tokenizer.json: a regular expression in its decoder, which nothing can stop once it runs",
    ),
    "a long pattern": (
        steps(normalizer=replace("b", Regex="(?i)" + "ss" * 10_000)),
        "m/tokenizer.json: a regular expression of 20004 characters; expected at most 10000",
    ),
    "too many added tokens": (
        steps(added_tokens=[{"id": 400 + n, "content": f"<{n}>"} for n in range(100_001)]),
        "m/tokenizer.json: 100001 added tokens; expected at most 100000",
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


@pytest.mark.parametrize(("break_it", "told"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_that_asks_for_too_much_gets_one_line_at_once_and_exit_code_2(break_it, told, folder, capfd):
    break_it(folder)
    before, start = sorted(Path().rglob("*")), time.process_time()
    assert main(["train", "--model", "m", "--data", "a.jsonl", "--output", "run"]) == 2
    assert time.process_time() - start < 10
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("dpo-notes: ") and told in err
    assert err.count("\n") == 1 and len(err) < 700
    assert sorted(Path().rglob("*")) == before


def test_a_configuration_without_counts_of_its_own_is_built_within_limits(folder, monkeypatch):
    """Where the names say nothing, as in a new architecture, the skeleton is built without numbers, in bounded time."""
    edit("config.json", n_layer=900)(folder)
    monkeypatch.setattr("dpo_notes.language.model_folder.SECONDS_TO_BUILD", 0.2)
    with pytest.raises(InputError, match=r"m/config\.json: its model is not built within 0\.2 seconds; expected sizes"):
        check_size(AutoModelForCausalLM, folder)


def test_a_reward_models_folder_is_bounded_likewise(folder, tiny_tokenizer, new_tiny_model):
    reward_model, tokenizer = new_reward_model(new_tiny_model(), tiny_tokenizer)
    reward_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    load_reward_model(folder)
    for changes, told in (
        ({"n_layer": 10**6}, "n_layer is 1000000; expected 1 to 1000"),
        ({"vocab_size": 9_999_999}, "asks for a model of "),
        ({"num_labels": 10**9}, "num_labels is 1000000000"),
    ):
        edit("config.json", **changes)(folder)
        assert_one_line(lambda: load_reward_model(folder), told, seconds=5)
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


def test_a_folder_with_large_files_that_nobody_reads_loads_as_before(folder):
    large_file("corpus.txt")(folder)
    large_file("data.json")(folder)
    load_model(folder)


# Parquet.


def repeated(path: Path, text: str, rows: int, **also: pyarrow.Array) -> Path:
    """A file of this text in each row, three times: a kilobyte, as it stands there once."""
    first = pyarrow.array(numpy.zeros(rows, dtype="int32"))
    columns = {
        name: pyarrow.DictionaryArray.from_arrays(first, pyarrow.array([text + name]))
        for name in ("prompt", "chosen", "rejected")
    }
    table = pyarrow.table(columns | also)
    pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30)
    assert path.stat().st_size < 100_000
    return path


def late(path: Path) -> Path:
    """The long text comes after a thousand rows that have none, so nothing is known of it at first."""
    texts = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([None] * 2000 + [0] * 50_000, pyarrow.int32()), pyarrow.array(["a" * MEGABYTE])
    )
    table = pyarrow.table({"prompt": texts, "chosen": texts, "rejected": texts})
    pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**30)
    return path


def many_messages(path: Path, counts: list[int], content: str = "hi") -> Path:
    total = sum(counts)
    same = pyarrow.array(numpy.zeros(total, dtype="int32"))
    words = [pyarrow.DictionaryArray.from_arrays(same, pyarrow.array([text])) for text in ("user", content)]
    ends = numpy.concatenate([[0], numpy.cumsum(counts)]).astype("int32")
    messages = pyarrow.ListArray.from_arrays(ends, pyarrow.StructArray.from_arrays(words, ["role", "content"]))
    table = pyarrow.table({"prompt": messages, "chosen": messages, "rejected": messages})
    pyarrow.parquet.write_table(table, path, compression="zstd", store_schema=False)
    return path


def one_field(path: Path, size: int) -> Path:
    table = pyarrow.table({"prompt": ["a"], "chosen": ["a" * size], "rejected": ["b"]})
    pyarrow.parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    return path


BOMBS = {
    "300 GB of one text": (lambda path: repeated(path, "a" * MEGABYTE, 100_000), "bytes of text, if it goes on as it"),
    "300 GB of a shorter text": (lambda path: repeated(path, "a" * 30_000, 3_000_000), "bytes of text, if it goes on"),
    "one text in the later rows": (late, "bytes of text, if it goes on as it begins; expected at most 16,000,000,000"),
    "a field of 300 MB": (
        lambda path: one_field(path, 300 * MEGABYTE),
        "bytes once it is unpacked; expected at most 268,435,456",
    ),
    "a field of 120 MB": (lambda path: one_field(path, 120 * MEGABYTE), "bytes in row 1; expected at most 100,000,000"),
    "five million messages": (
        lambda path: many_messages(path, [5_000_000]),
        "values of prompt.list.element.role in one",
    ),
    "20,000 messages in the second row": (lambda path: many_messages(path, [1, 20_000]), "messages in prompt of a row"),
    "a million messages": (lambda path: many_messages(path, [100] * 10_000), "bytes, with texts that repeat counted"),
    "megabytes in each message": (
        lambda path: many_messages(path, [100] * 1000, "a" * MEGABYTE),
        "more than 1.5 GiB in a few rows",
    ),
}
READ_IN_A_GIGABYTE = """
import resource, sys
from dpo_notes.language.pairs import load_pairs
import pyarrow, pyarrow.parquet, pyarrow.compute
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_pairs(sys.argv[1], check=lambda pair: None, on_bad_row="skip")
except ValueError as error:
    print(type(error).__name__, error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("make", "told"), BOMBS.values(), ids=BOMBS)
def test_a_parquet_file_that_unpacks_to_far_more_is_refused_in_little_memory(make, told, tmp_path):
    path = make(tmp_path / "a.parquet")
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({4 * 2**30},) * 2)"
    root = str(Path(__file__).resolve().parent.parent)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", limit + READ_IN_A_GIGABYTE, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": root},
    )
    said = ran.stdout.splitlines()
    assert ran.stderr == "" and len(said) == 2 and said[0].startswith(f"InputError {path}: holds ")
    assert told in said[0] and "set DPO_NOTES_DATA_TIMES=" in said[0]
    assert int(said[1]) < 1000, f"{said[1]} MiB"


def test_the_bounds_of_parquet_are_raised_as_the_message_says(tmp_path, monkeypatch):
    path = many_messages(tmp_path / "a.parquet", [1, 15_000])
    with pytest.raises(InputError, match="holds 15,000 messages .* expected at most 10,000 .* DPO_NOTES_DATA_TIMES=2"):
        list(read_rows(path))
    assert len(list(read_rows(path, parquet_times=2))) == 2
    monkeypatch.setenv("DPO_NOTES_DATA_TIMES", "2")
    assert [len(row.value["prompt"]) for row in read_rows(path)] == [1, 15_000]
    with pytest.raises(InputError, match="expected at most 5,000"):
        list(read_rows(path, parquet_times=0.5))
    monkeypatch.setenv("DPO_NOTES_DATA_TIMES", "much")
    with pytest.raises(InputError, match="^DPO_NOTES_DATA_TIMES is 'much'; expected a finite number above 0"):
        list(read_rows(path))


def test_texts_that_repeat_are_read_as_one_object_and_stay_what_they_are(tmp_path):
    rows = [row.value for row in read_rows(repeated(tmp_path / "a.parquet", "a" * 5000, 5000))]
    assert len(rows) == 5000 and all(row["chosen"] is rows[0]["chosen"] for row in rows)
    assert rows[-1] == {name: "a" * 5000 + name for name in ("prompt", "chosen", "rejected")}


@pytest.mark.parametrize("group", [7, 1000, 100_000])
def test_rows_come_out_in_order_whatever_the_row_groups(tmp_path, group):
    texts = [f"{number} " + "word " * (number % 50) for number in range(3000)]
    table = pyarrow.table({"prompt": texts, "chosen": texts[::-1], "rejected": ["no", None, "yes"] * 1000})
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    assert [row.value for row in read_rows(path)] == table.to_pylist()
    assert [row.place for row in read_rows(path)][-1] == f"{path}, row 3000"
