"""Every refresh policy in a whole fleet under the virtual clock, over the real cloud app."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from device_runtime.refresh.call_budget import SLACK
from device_runtime.refresh.names import policy_text
from device_runtime.settings import BUDGETED
from loadtest.records.record_table import numbers
from loadtest.replay.replay import ReplayResult
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.interactions import InteractionLog
from shared.refresh_file import RefreshKnowledge
from tests.support.bundles import make_bundle, random_gain
from tests.support.histories import check_history
from tests.support.replays import records, replay_settings, replay_tiny
from tests.support.staleness import make_log
from tests.support.tiers import first_quick

USERS, STEPS = 12, 80


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    known = RefreshKnowledge(gain=random_gain())
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle", refresh=known)


@pytest.fixture(scope="module")
def log() -> InteractionLog:
    return make_log(users=USERS, events=STEPS + 20)


def settings_of(bundle: Bundle, device: dict[str, object], **replay: object) -> Settings:
    defaults = {"steps": STEPS, "duration_s": 600.0, "availability": {"kind": "always"}}
    return replay_settings(bundle, device=device, **(defaults | replay))


def run(
    path: Path, bundle: Bundle, log: InteractionLog, settings: Settings
) -> tuple[ReplayResult, pl.DataFrame, pl.DataFrame]:
    result = replay_tiny(path, bundle, settings, log=log, test_steps=STEPS)
    requests, refreshes = records(path)
    assert len(requests) == USERS * STEPS
    check_history(requests, refreshes, gamma_max=bundle.manifest.calibration.gamma_max)
    return result, requests, refreshes.filter(pl.col("started_s") >= 0)


@pytest.mark.parametrize("name", first_quick(BUDGETED, 2))
def test_the_fleet_keeps_its_budget_and_decides_the_same_again(
    tmp_path: Path, bundle: Bundle, log: InteractionLog, name: str
) -> None:
    settings = settings_of(bundle, {"policy": name, "budget": 0.2})
    _, requests, refreshes = run(tmp_path / "one", bundle, log, settings)
    assert len(refreshes) / len(requests) == pytest.approx(0.2, rel=0.1)
    per_device = refreshes["user"].value_counts()["count"]
    assert len(per_device) == USERS
    assert per_device.max() <= 0.2 * STEPS + SLACK + 1.5
    # Devices of their own: not all of them ask at the same places of their histories.
    steps = refreshes.group_by("user").agg(pl.col("step").sort())["step"].to_list()
    assert len({tuple(s) for s in steps}) > USERS // 2
    _, again, refreshed_again = run(tmp_path / "two", bundle, log, settings)
    assert again.equals(requests)
    assert refreshed_again.equals(refreshes)


@pytest.mark.parametrize("name", BUDGETED)
def test_the_budget_holds_through_outages(
    tmp_path: Path, bundle: Bundle, log: InteractionLog, name: str
) -> None:
    outages = {"kind": "periodic", "period_s": 120.0, "outage_s": 50.0, "failure": "refuse"}
    settings = settings_of(
        bundle, {"policy": name, "budget": 0.2}, availability=outages, warm_start=False
    )
    _, requests, refreshes = run(tmp_path / "run", bundle, log, settings)
    assert {"fresh", "network"} <= set(refreshes["outcome"])
    assert len(refreshes) / len(requests) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("name", BUDGETED)
def test_a_fleet_keeps_its_common_budget_in_ten_requests_per_device(
    tmp_path: Path, bundle: Bundle, name: str
) -> None:
    many = make_log(users=60, events=30)
    device = {"policy": name, "budget": 0.1, "budget_scope": "fleet"}
    settings = settings_of(bundle, device, steps=10, duration_s=120.0, users=60)
    outcomes = []
    for run_name in ("one", "two"):
        replay_tiny(tmp_path / run_name, bundle, settings, log=many, test_steps=10)
        requests, refreshes = records(tmp_path / run_name)
        outcomes.append(refreshes.filter(pl.col("started_s") >= 0))
    assert len(requests) == 600
    assert len(outcomes[0]) / 600 == pytest.approx(0.1, rel=0.1)
    assert outcomes[0].equals(outcomes[1])
    # It is the fleet's: some devices ask more than once, others not at all.
    per_device = outcomes[0]["user"].value_counts()["count"]
    assert len(per_device) < 60
    assert per_device.max() > 1


def test_a_cold_fleet_gets_its_first_snapshots_within_the_budget(
    tmp_path: Path, bundle: Bundle
) -> None:
    many = make_log(users=40, events=30)
    device = {"policy": "drift", "budget": 0.2, "budget_scope": "fleet"}
    settings = settings_of(bundle, device, steps=10, duration_s=120.0, users=40, warm_start=False)
    replay_tiny(tmp_path / "run", bundle, settings, log=many, test_steps=10)
    requests, refreshes = records(tmp_path / "run")
    assert len(refreshes) / len(requests) == pytest.approx(0.2, rel=0.1)
    first = refreshes.sort("started_s").head(40)
    assert first["user"].n_unique() > 0.7 * 40  # most of them are first snapshots


def test_expected_gain_is_refused_where_the_bundle_cannot_say(
    tmp_path: Path, log: InteractionLog
) -> None:
    without = make_bundle(tmp_path / "bundle")
    settings = settings_of(without, {"policy": "expected-gain"})
    with pytest.raises(ConfigError, match="holds a gain model"):
        replay_tiny(tmp_path / "run", without, settings, log=log, test_steps=STEPS)


def test_always_asks_at_every_request(tmp_path: Path, bundle: Bundle, log: InteractionLog) -> None:
    settings = settings_of(bundle, {"policy": "always"}, cloud_latency_s=1e-6)
    _, requests, refreshes = run(tmp_path / "run", bundle, log, settings)
    assert len(refreshes) == len(requests)
    assert set(requests.filter(pl.col("step") > requests["step"].min())["delta"]) == {1}


def test_snapshots_live_as_long_as_they_may(
    tmp_path: Path, bundle: Bundle, log: InteractionLog
) -> None:
    settings = settings_of(bundle, {"policy": "time-to-live", "ttl_s": 50.0})
    _, requests, refreshes = run(tmp_path / "run", bundle, log, settings)
    refreshed = set(zip(refreshes["user"], refreshes["step"], strict=True))
    asked = np.array([(u, s) in refreshed for u, s in requests.select("user", "step").iter_rows()])
    age = numbers(requests, "snapshot_age_s")
    np.testing.assert_array_equal(asked, age >= 50.0)
    assert 0 < asked.sum() < len(requests) / 2
    assert policy_text(settings.device) == "time-to-live, 50 s"
