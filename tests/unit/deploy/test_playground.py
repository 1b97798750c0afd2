"""The playground's log is the same at each build, and what its settings say."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from scalrec.settings import load_settings
from training.data.registry import load_log

BIN = Path(__file__).resolve().parents[3] / "deploy" / "bin"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BIN))
    for name in ("playground", "playground_log"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("scripts")
def test_the_log_is_invented_the_same_each_time_and_loads_under_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import playground  # type: ignore[import-not-found]
    import playground_log  # type: ignore[import-not-found]

    for folder in ("first", "second"):
        playground_log.write_log(tmp_path / folder / "log")
    for name in ("loans.csv", "books.csv"):
        first, second = (tmp_path / f / "log" / name for f in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()

    for name, value in {**playground.settings(tmp_path / "first"), **playground.FLEET}.items():
        monkeypatch.setenv(name, value)
    for name, value in playground.TRAINING.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.embedder.backend == "hashing"
    log = load_log(settings.log, cache=tmp_path / "cache")
    assert len(log.user_ids) == playground_log.READERS >= settings.replay.users
    assert set(log.item) == set(range(len(playground_log.SHELVES) * playground_log.BOOKS_A_SHELF))
    assert np.bincount(log.user).min() >= playground_log.LOANS[0]
