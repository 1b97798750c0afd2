"""A browser for the tests that look at pages as people do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, headless. SCALREC_CHROMIUM names another one.

    Per module: while Playwright is there an event loop runs, and no test can start its own.
    """
    path = os.environ.get("SCALREC_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(
            "no Chromium for the browser tests: apt install chromium, or set SCALREC_CHROMIUM"
        )
    with sync_playwright() as playwright:
        # Chromium's own sandbox needs rights that containers lack; only our pages are opened.
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()
