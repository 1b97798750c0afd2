"""What the live view says about a run besides its figures."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from loadtest.dashboard.messages import Update
from scalrec.console import make_console
from scalrec.settings import load_settings
from scalrec.stack.live_view import Live, facts_of, live_view
from shared.bundle import load_bundle
from shared.errors import ConfigError
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.live_records import tick
from tests.support.staleness import make_log


class Kept:
    """A sink that keeps what it is offered."""

    def __init__(self) -> None:
        self.updates: list[Update] = []

    def offer(self, update: Update) -> None:
        self.updates.append(update)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("scenario", "words"),
    [(None, "cloud periodic"), ("flash-crowd", "scenario flash-crowd")],
)
def test_a_scenario_is_named_in_place_of_the_settings_outages(
    tmp_path: Path, scenario: str | None, words: str
) -> None:
    make_bundle(tmp_path / "bundle")
    log, sink = make_log(), Kept()
    live = Live(load_settings(), sink, "http://127.0.0.1:1")
    feed = live.feed(
        log,
        split_log(log),
        load_bundle(tmp_path / "bundle").manifest,
        tmp_path / "run",
        datetime(2026, 1, 1, tzinfo=UTC),
        scenario=scenario,
    )
    feed.tick(tick(1.0))
    live.stopped()
    assert {update.facts.availability for update in sink.updates} == {words}


@pytest.mark.parametrize(
    ("device", "ranking", "calibrate"),
    [
        ({}, "semantic, calibrated", True),
        ({"calibrate": False}, "semantic, uncalibrated", False),
        ({"ranking": "collaborative"}, "collaborative, alpha = 0.1", None),
    ],
)
def test_how_devices_rank_is_named(
    tmp_path: Path, device: dict[str, object], ranking: str, calibrate: bool | None
) -> None:
    log, manifest = make_log(), make_bundle(tmp_path / "bundle").manifest
    started = datetime(2026, 1, 1, tzinfo=UTC)
    facts = facts_of(load_settings(device=device), log, split_log(log), manifest, "run", started)
    assert (facts.ranking, facts.calibrate) == (ranking, calibrate)


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "127.0.0.1:8090", "http://[", "ftp://x"])
def test_an_address_that_cannot_be_one_is_refused_before_the_run(url: str) -> None:
    """The thread that sends the news would end, and nobody would be told."""
    settings = load_settings(dashboard={"push_url": url, "token": "secret"})
    with (
        pytest.raises(ConfigError, match=r"dashboard\.push_url is no address"),
        live_view(settings, make_console()),
    ):
        pass
