"""The bench's rows of the fleet: real replays, their parts add up, users repeat without mixing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from typer import Typer
from typer.testing import CliRunner

from benchmarks import fleet_size
from benchmarks.children import Ended
from benchmarks.fleet_size import compare_fleet, measure
from benchmarks.replay import compare_memory, compare_replay, repeated
from benchmarks.scaling.invented import written_log
from loadtest.settings import ReplaySettings
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.staleness import make_log

FOUND = fleet_size.FleetSize(
    devices=5, requests=10, refreshes=3, minutes=0.1, state_kib=9.0, peak_mib=200.0
)


def _settings(bundle_window: int) -> Settings:
    settings = Settings(replay=ReplaySettings(steps=2))
    limits = {"window": bundle_window, "local_candidates": 0}  # the bundle's
    profile = settings.profile.model_copy(update=limits)
    return settings.model_copy(update={"profile": profile})


def test_the_parts_of_a_request_add_up(tmp_path: Path) -> None:
    log = make_log(users=12, events=30)
    bundle = make_bundle(tmp_path / "bundle", n_items=len(log.catalogue))
    run = ort.InferenceSession.run
    fleet, beside, recording = compare_replay(
        _settings(10), log, split_log(log, test_steps=2), bundle
    )
    assert ort.InferenceSession.run is run
    assert "12 devices" in fleet.name
    assert 0 < fleet.ours < fleet.theirs
    assert 0 < beside.ratio < 1
    assert np.isclose(fleet.ratio + beside.ratio, 1.0)
    assert np.isclose(beside.theirs, 1e6 / fleet.ours)
    assert recording.theirs == beside.theirs
    assert recording.ours > 0


def test_memory_is_told_for_as_many_devices_as_asked(tmp_path: Path) -> None:
    log = make_log(users=12, events=30)
    bundle = make_bundle(tmp_path / "bundle", n_items=len(log.catalogue))
    (row,) = compare_memory(_settings(10), log, bundle, devices=200)
    assert "200 devices" in row.name
    assert 1 < row.ours < 100


def test_repeated_users_have_the_events_of_their_source() -> None:
    log = make_log(users=3, events=20)
    many = repeated(log, 7)
    assert many.n_users == 7
    for copy in range(7):
        np.testing.assert_array_equal(
            many.item[many.events_of(copy)], log.item[log.events_of(copy % 3)]
        )
    assert len(set(many.user_ids)) == 7


def test_users_with_too_few_events_are_not_repeated() -> None:
    log = make_log(users=3, events=20)
    assert repeated(log, 4, test_steps=5).n_users == 4
    with pytest.raises(ConfigError, match="100 events to be asked at"):
        repeated(log, 4, test_steps=100)


def test_a_large_fleet_tells_what_it_took(tmp_path: Path) -> None:
    log = make_log(users=3, events=30)
    bundle = make_bundle(tmp_path / "bundle", n_items=len(log.catalogue))
    found = measure(_settings(10), log, bundle, devices=20, steps=4, progress=NullProgress())
    assert (found.devices, found.requests) == (20, 80)
    assert found.refreshes > 20
    assert 0 < found.state_kib < 1024 * found.peak_mib


def test_a_large_fleet_is_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written_log(tmp_path / "log.csv", users=8, items=12)
    settings = Settings.model_validate(
        {"log": {"name": "own", "path": path, "columns": "user=user,item=item,time=time"}}
    )
    bundle = make_bundle(tmp_path / "bundle")
    asked: list[Sequence[str]] = []
    given: list[tuple[Bundle, int, int, int]] = []

    def ended(arguments: Sequence[str]) -> Ended:
        asked.append(arguments)
        return Ended(90.0, 200.0 + 50.0 * len(asked))

    def found(
        settings: Settings, log: InteractionLog, bundle: Bundle, **asked: Any
    ) -> fleet_size.FleetSize:
        given.append((bundle, log.n_users, asked["devices"], asked["steps"]))
        return FOUND

    monkeypatch.setattr(fleet_size, "run_python", ended)
    row = compare_fleet(settings, bundle, devices=5, steps=2)
    assert row.name.startswith("5 devices, 10 requests in 1.5 min")
    assert row.ratio == 300.0 / 250.0
    # The program understands what it is asked.
    monkeypatch.setattr(fleet_size, "measure", found)
    app = Typer()
    app.command()(fleet_size.fleet_size)
    for module, *arguments in (command[1:] for command in asked):
        assert module == "benchmarks.fleet_size"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert [(b.id, *rest) for b, *rest in given] == [(bundle.id, 8, 5, 1), (bundle.id, 8, 5, 2)]
