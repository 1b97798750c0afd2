"""Costly folders that all workers of one test run share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """Temporary folder of the whole run: workers of pytest-xdist have theirs in it."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def once(folder: Path, fill: Callable[[Path], None]) -> Path:
    """``folder``, filled by whoever comes first; others wait, and fill it anew if that failed.

    Who uses it leaves it as it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / ".done"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            fill(folder)
            done.touch()
    return folder
