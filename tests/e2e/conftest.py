"""What whole runs share: a trained folder, and a browser to look at pages as people do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.support.once import run_folder
from tests.support.small_run import SmallRun

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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The invented log, trained and exported once for all workers."""
    return SmallRun.shared(run_folder(tmp_path_factory) / "small-run")
