"""A costly folder is made once, whoever asks for it first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.support.once import once


def test_those_who_ask_at_once_get_what_one_of_them_made(tmp_path: Path) -> None:
    made, seen = [], []

    def fill(folder: Path) -> None:
        made.append(folder)
        time.sleep(0.1)
        (folder / "result").write_text("done")

    def ask() -> None:
        seen.append((once(tmp_path / "shared", fill) / "result").read_text())

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert seen == ["done"] * 4
    assert made == [tmp_path / "shared"]


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        once(tmp_path / "shared", fails)
    assert once(tmp_path / "shared", lambda folder: (folder / "r").touch()) == tmp_path / "shared"
    assert (tmp_path / "shared" / "r").exists()
