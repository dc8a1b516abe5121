"""The browser of the tests that need one. A module asks for it with `pytest_plugins = ["browser_fixtures"]`."""

import os

import pytest
from lab_page import browser, browser_path


@pytest.fixture(scope="module")  # no longer: Playwright keeps an event loop running, and other tests start their own
def chromium():
    if browser_path() is None:
        words = "no Chromium or Chrome found (on Debian: apt install chromium)"
        pytest.fail(words) if os.environ.get("DPO_NOTES_BROWSER") == "required" else pytest.skip(words)
    with browser() as program:
        yield program
