"""Chat templates and tokenizers that would run without end or fill the memory fail in time, with one line."""

import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from dpo_notes.maths.errors import InputError
from dpo_notes.pairs import chat, tokenizing
from dpo_notes.pairs.bounded import OverLimit, Panicked, run_native, run_python
from dpo_notes.pairs.chat import render
from dpo_notes.pairs.load import PreferencePair, load_pairs
from dpo_notes.pairs.tokenizing import texts_of, token_ids

MEGABYTE = 10**6
BOMB = 3 * 2**29  # bytes: more than a template may take, and less than what is spare
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
    turns = [("user", text), ("assistant", "Hello"), ("assistant", "What?")]
    return PreferencePair(*([{"role": role, "content": content}] for role, content in turns))


# Chat templates.

LOOPS = "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
GROW = "{% set n = namespace(x='ab') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x | length }}"
FAIL, SLOW, LARGE = "refuses the messages (", "does not finish within 0.3 seconds; expected", "asks for more than 1 GiB"
TEMPLATES = {
    "divides by zero": ("{{ 1 / 0 }}", FAIL + "division by zero)"),
    "adds text to a number": ("{{ 'a' + 1 }}", FAIL),
    "asks for an item of a number": ("{{ 5['a'].b }}", FAIL),
    "calls text": ("{{ 'a'() }}", FAIL),
    "includes a file": ("{% include '/etc/passwd' %}", FAIL + "no loader"),
    "imports a file": ("{% import 'a.jinja' as a %}", FAIL + "no loader"),
    "extends a file": ("{% extends 'a.jinja' %}", FAIL + "no loader"),
    "undefined within undefined": ("{{ a.b.c }}", FAIL + "'a' is undefined)"),
    "nothing but undefined": ("{{ mesages }}", "gives chosen and rejected the same text"),
    "an unknown filter": ("{{ messages | shorten }}", FAIL),
    "loops in loops": (LOOPS, SLOW),
    "a power of a power": ("{{ (9 ** (9 ** 9)) % 10 }}", SLOW),
    "a power of variables": ("{% set n = 9 %}{{ (n ** (n ** n)) % 10 }}", SLOW),
    "long words of filters": ("{{ lipsum(n=100000) }}", SLOW),
    "lists in a loop": ("{% for i in range(100000) %}{{ range(100000) | list | length }}{% endfor %}", SLOW),
    "a macro that calls itself": ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", FAIL + "maximum recursion"),
    "a block within itself": ("{% block a %}{{ self.a() }}{% endblock %}", FAIL + "maximum recursion"),
    "a billion letters and a half": (f"{{{{ 'a' * {BOMB} }}}}", LARGE),
    "a width of as many": (f"{{{{ '%{BOMB}d' % 1 }}}}", LARGE),
    "centred in as many": (f"{{{{ 'a' | center({BOMB}) }}}}", LARGE),
    "text that doubles": (GROW, LARGE),
    "ten million letters": ("{{ 'a' * 10**7 }}", "turns the messages into 10000000 characters; expected at most"),
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


def assert_one_line(call: Callable[[], object], message: str, *, seconds: float) -> None:
    start = time.process_time()
    with pytest.raises(InputError) as error:
        call()
    assert time.process_time() - start < seconds
    assert message in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600
    assert "expected" in str(error.value)


@pytest.mark.parametrize(("template", "message"), TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_ends_in_time_and_in_memory_and_is_reported_in_one_line(talker, template, message):
    talker.chat_template = template
    assert_one_line(lambda: render(talker, chat_pair()), f"the chat template {message}", seconds=5)


@pytest.mark.parametrize(
    ("template", "message"),
    [(LOOPS, SLOW), ("{{ lipsum(n=100000) }}", SLOW), ("{{ 1 / 0 }}", FAIL), (f"{{{{ 'a' * {BOMB} }}}}", LARGE)],
)
def test_a_template_ends_in_another_thread_too(talker, template, message):
    talker.chat_template, found = template, []

    def work() -> None:
        try:
            render(talker, chat_pair())
        except InputError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert not thread.is_alive() and message in found[0]


def test_a_template_that_hangs_for_one_message_is_reported_with_its_line(talker, tmp_path):
    talker.chat_template = "{% if messages[0].content == 'x3' %}" + LOOPS + "{% endif %}" + chat.PLAIN_CHAT_TEMPLATE
    answers = {side: [{"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    rows = [{"prompt": [{"role": "user", "content": f"x{number}"}]} | answers for number in range(6)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"a\.jsonl, line 4: the chat template does not finish within 0\.3 seconds"):
        load_pairs(path, check=lambda pair: render(talker, pair))
    with pytest.warns(UserWarning, match="bad rows left out: 1 of 6"):
        assert len(load_pairs(path, check=lambda pair: render(talker, pair), on_bad_row="skip")) == 5


def test_after_a_template_timers_handlers_and_limits_are_as_before(talker):
    """pytest-timeout uses SIGALRM. The processor's timer is set as it was, and memory is free again."""
    old = signal.signal(signal.SIGALRM, lambda *given: None)
    signal.setitimer(signal.ITIMER_REAL, 500)
    memory = resource.getrlimit(resource.RLIMIT_AS)
    for talker.chat_template in (None, LOOPS, "{{ 'a' * 10**10 }}"):
        try:  # noqa: SIM105  as a program would write it
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
            try:  # noqa: SIM105  as a program would write it
                sum(range(1000))
            except Exception:  # noqa: BLE001
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


@pytest.mark.parametrize(("parts", "text", "message"), RUNAWAY.values(), ids=RUNAWAY)
def test_a_tokenizer_that_panics_is_reported_in_one_line_and_nothing_else_is_written(parts, text, message, capfd):
    tokenizer = words_tokenizer(**parts)
    assert_one_line(lambda: token_ids(tokenizer, ["a", text]), message, seconds=5)
    assert capfd.readouterr() == ("", "")


def test_a_tokenizer_that_tries_everything_is_given_up(monkeypatch):
    """Each run of letters stays below the library's own limit, but there are many."""
    monkeypatch.setattr(tokenizing, "SECONDS_AT_ONCE", 0.3)
    tokenizer = words_tokenizer(pre_tokenizer=pre_tokenizers.Split(Regex(r"(a+)+$"), "isolated"))
    with pytest.raises(InputError, match="the tokenizer did not turn 2 texts into tokens within 0 seconds; expected"):
        token_ids(tokenizer, ["a", ALMOST * 100])


def test_texts_are_tokenized_some_at_a_time_and_come_out_in_order(tiny_tokenizer, monkeypatch):
    texts = ["Where is Paris?", "", "In France.", "a" * 50, "b"]
    whole = tiny_tokenizer(texts, add_special_tokens=False)["input_ids"]
    calls = []
    monkeypatch.setattr(
        tokenizing, "run_native", lambda call, seconds: calls.append(seconds) or run_native(call, seconds=seconds)
    )
    for at_once, parts in ((1, 5), (16, 4), (30, 3), (500, 1)):
        monkeypatch.setattr(tokenizing, "CHARACTERS_AT_ONCE", at_once)
        assert token_ids(tiny_tokenizer, texts) == whole
        assert len(calls) == parts
        calls.clear()
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


def test_the_alarm_and_its_hook_are_the_hosts_again_afterwards():
    before = signal.getsignal(signal.SIGVTALRM), sys.unraisablehook, signal.getitimer(signal.ITIMER_VIRTUAL)
    assert run_python(lambda: 1, seconds=5, extra_bytes=2**30) == 1
    with pytest.raises(OverLimit):
        run_python(lambda: [None for _ in iter(int, 1)], seconds=0.1, extra_bytes=2**32)
    assert (signal.getsignal(signal.SIGVTALRM), sys.unraisablehook, signal.getitimer(signal.ITIMER_VIRTUAL)) == before
