"""Which cloud `scalrec fleet` replays against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loadtest.replay.soundness import replay_notes
from scalrec.commands import fleet as command
from scalrec.settings import load_settings
from shared.errors import ConfigError
from tests.support.bundles import make_bundle
from tests.support.replays import replay_settings, replay_tiny


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Addresses that fleets were started against."""
    urls: list[str] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_watched", lambda settings, url, bundle: urls.append(url))
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


def test_the_bundle_says_which_back_end_served_it(tmp_path: Path) -> None:
    manifest = make_bundle(tmp_path / "bundle").manifest
    settings = load_settings()
    assert settings.embedder.backend != manifest.embedder.backend
    assert command._as_served(settings, manifest).embedder.backend == manifest.embedder.backend
    # Any back end of a model's files may serve, whichever one training used.
    trained = manifest.embedder.model_copy(update={"backend": "transformers"})
    inside = manifest.model_copy(update={"embedder": trained})
    assert command._as_served(settings, inside).embedder.backend == "vllm"


def test_refreshes_without_a_record_are_told(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    few = replay_settings(bundle, device={"k": 1}, max_refreshes=1, cloud_latency_s=5.0)
    result = replay_tiny(tmp_path / "few", bundle, few)
    assert result.skipped_refreshes > 0
    assert f"{result.skipped_refreshes:,} refreshes were skipped" in replay_notes(result)[0]
    assert replay_notes(replay_tiny(tmp_path / "all", bundle, replay_settings(bundle))) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"ray": "local", "processes": 2}, "--ray and --processes are two ways"),
        ({"shards": 2}, "--shards goes with --ray.*--processes"),
        ({"processes": 2, "shards": 2}, "--shards goes with --ray"),
    ],
)
def test_a_fleet_is_spread_in_one_way(asked: list[str], given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        command.fleet(cloud="http://127.0.0.1:1", **given)
    assert asked == []


@pytest.mark.parametrize(
    ("processes", "port", "told"),
    [(0, None, "--processes must be 1 or more"), (2, 0, "with --processes the live view")],
)
async def test_processes_say_what_they_cannot_do(
    processes: int, port: int | None, told: str
) -> None:
    settings = load_settings()
    settings = settings.model_copy(
        update={"dashboard": settings.dashboard.model_copy(update={"port": port})}
    )
    with pytest.raises(ConfigError, match=told):
        await command._on_processes(settings, "http://127.0.0.1:1", None, processes)
