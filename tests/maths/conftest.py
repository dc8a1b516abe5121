"""For tests of the guards on arguments."""

import jaxtyping
import pytest


@pytest.fixture
def types_unchecked(monkeypatch):
    """Turns the tests' type checker off, as it is for a user, so that the function's own guard answers."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
