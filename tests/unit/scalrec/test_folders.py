"""Run folders and the `latest` pointer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from scalrec.folders import latest_run, new_run_dir, point_latest
from shared.errors import ConfigError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_latest_moves_to_the_newest_run(tmp_path: Path) -> None:
    first = new_run_dir(tmp_path, "a", NOW)
    second = new_run_dir(tmp_path, "b", NOW)
    point_latest(tmp_path, first)
    point_latest(tmp_path, second)
    assert latest_run(tmp_path) == second.resolve()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "20260102T030405-a",
        "20260102T030405-b",
        "latest",
    ]


def test_no_run_yet_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scalrec simulate"):
        latest_run(tmp_path)


def test_an_unusable_work_dir_is_named(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(ConfigError, match="cannot create run folder"):
        new_run_dir(blocker, "a", NOW)
