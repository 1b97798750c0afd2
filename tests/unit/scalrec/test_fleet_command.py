"""Which cloud `scalrec fleet` replays against."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalrec.commands import fleet as command
from shared.errors import ConfigError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Addresses that fleets were started against."""
    urls: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_fleet", lambda settings, url, bundle: urls.append(url))
    monkeypatch.setattr(command, "run_command", lambda work: None)
    return urls


def test_the_option_beats_the_setting(asked: list[str]) -> None:
    setting = ["device.link.url=http://127.0.0.1:1"]
    command.fleet(assignments=setting)
    command.fleet(cloud="http://127.0.0.1:2", assignments=setting)
    assert asked == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


def test_without_a_cloud_it_says_how_to_name_one(asked: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--cloud.*device\.link\.url"):
        command.fleet()
    assert asked == []
