"""bubblewrap for the tests that need it. A module asks for it with `pytest_plugins = ["sandbox_fixtures"]`."""

import os

import pytest


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    """Skips with the reason where there is no sandbox; fails where one is required."""
    from dpo_notes.grading import sandbox

    if problem := sandbox.why_not():
        pytest.fail(problem) if os.environ.get("DPO_NOTES_SANDBOX") == "required" else pytest.skip(problem)
