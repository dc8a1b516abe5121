"""The audit of our pins, against a local package index that answers like the real one."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import audit
import pytest

from dpo_notes.places import ROOT

pytestmark = pytest.mark.processes  # each runs `pip check` in a process

HOLE = {"id": "PYSEC-2024-1", "fixed_in": ["9.1", "10.0"], "link": "https://osv.dev/x", "withdrawn": None}


@pytest.fixture
def index() -> Iterator[HTTPServer]:
    """An index that knows the advisories in `index.known`, by "name/version", and no other release; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.removeprefix("/").removesuffix("/json")
            server.asked.append(name)
            self.send_response(200 if name in server.known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"vulnerabilities": server.known.get(name, [])}).encode())

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        server.known, server.asked = {}, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def pinned(tmp_path) -> list[str]:
    """Three releases that are installed here, as pinned in `tmp_path / "list.txt"`, and one for another system."""
    names = [f"{name}=={version(name)}" for name in ("numpy", "packaging", "pillow")]
    lines = ["# a comment", *names, "pywinpty==3.1.2 ; os_name == 'none'"]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [line.replace("==", "/") for line in [*names, "pywinpty==3.1.2"]]


def answers(releases: list[str], *holes: dict) -> dict[str, list[dict]]:
    """The same advisories on each of these releases."""
    return {release: list(holes) for release in releases}


def run(index: HTTPServer, folder: Path) -> int:
    return audit.main([folder / "list.txt"], f"http://127.0.0.1:{index.server_port}")


def test_every_pin_is_asked_about_whatever_its_system_and_nothing_known_is_0(index, pinned, tmp_path, capsys):
    index.known = answers(pinned)
    assert run(index, tmp_path) == 0
    assert sorted(index.asked) == sorted(pinned)
    assert "4 of 4 pins audited" in capsys.readouterr().out


@pytest.mark.parametrize("number", range(4))
def test_one_known_hole_is_1_and_is_named_with_the_release_that_fixes_it(index, pinned, tmp_path, capsys, number):
    index.known = answers(pinned) | {pinned[number]: [HOLE]}
    assert run(index, tmp_path) == 1
    told = f"{pinned[number].replace('/', ' ')}: PYSEC-2024-1, fixed in 9.1, 10.0; https://osv.dev/x"
    assert told in capsys.readouterr().out


def test_an_advisory_that_was_withdrawn_does_not_count(index, pinned, tmp_path):
    index.known = answers(pinned, HOLE | {"withdrawn": "2024-05-01T00:00:00Z"})
    assert run(index, tmp_path) == 0


@pytest.mark.parametrize("answered", [0, 3])
def test_without_an_answer_for_every_pin_it_is_3_and_says_that_nothing_was_audited(
    index, pinned, tmp_path, capsys, answered
):
    """An index without advisories is asked once, not once for each pin."""
    index.known = answers(pinned[:answered])
    assert run(index, tmp_path) == audit.NO_ANSWER
    said = capsys.readouterr().out
    assert f"{answered} of 4 pins audited" in said
    assert all(pin.replace("/", "==") in said.partition("NOT AUDITED")[2] for pin in pinned[answered:])
    assert len(index.asked) == (4 if answered else 1)


def test_a_known_hole_is_1_though_another_pin_gets_no_answer(index, pinned, tmp_path):
    index.known = answers(pinned[:1]) | answers(pinned[1:2], HOLE)
    assert run(index, tmp_path) == 1


def test_an_index_that_is_out_of_reach_is_3(pinned, tmp_path, capsys):
    assert audit.main([tmp_path / "list.txt"], "http://127.0.0.1:1") == audit.NO_ANSWER
    assert "NOT AUDITED" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("numpy==0.1", f"numpy==0.1 is pinned, but {version('numpy')} is installed"),
        ("nosuchpackage==1", "nosuchpackage==1 is pinned, but nothing is installed"),
    ],
)
def test_another_release_than_the_pinned_one_is_1(index, tmp_path, capsys, line, told):
    (tmp_path / "list.txt").write_text(line + "\n", encoding="utf-8")
    index.known = {line.replace("==", "/"): []}
    assert run(index, tmp_path) == 1
    assert told in capsys.readouterr().out


def test_ci_lets_nothing_pass_but_an_index_that_gave_no_answer():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"\npython3 run.py audit </dev/null || (($? == {audit.NO_ANSWER}))" in script
    assert "set -euo pipefail" in script
