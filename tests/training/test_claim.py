"""A folder belongs to one process at a time, for as long as that process wants it."""

import errno
import os
import subprocess
import sys

import pytest

from dpo_notes.training.claim import claim

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows locks no folders")


def test_a_claim_keeps_other_processes_out_until_it_is_gone_and_never_its_own_process(tmp_path):
    """As a notebook may leave a run, and resume it."""
    held = claim(tmp_path)
    assert claim(tmp_path) is held
    program = f"from pathlib import Path; from dpo_notes.training.claim import claim; claim(Path({str(tmp_path)!r}))"
    other = [sys.executable, "-c", program]
    assert "BlockingIOError" in subprocess.run(other, capture_output=True, text=True, check=False).stderr
    del held
    subprocess.run(other, check=True)


def test_where_a_folder_cannot_be_locked_every_process_gets_in(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("dpo_notes.training.claim.fcntl.flock", refuse)
    assert claim(tmp_path) is None
    monkeypatch.setattr("dpo_notes.training.claim.fcntl", None)
    assert claim(tmp_path) is None
