"""The virtual-clock replay over the real cloud app: deterministic, and true to itself."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loadtest.records.record_table import numbers
from loadtest.records.recorder import REFRESHES, REQUESTS
from tests.support.bundles import make_bundle
from tests.support.histories import check_history
from tests.support.replays import records, replay_settings, replay_tiny
from tests.support.staleness import make_log

ROOT = Path(__file__).parents[2]


def test_same_seed_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    for name, hash_seed in (("one", "1"), ("two", "4242")):
        subprocess.run(
            [sys.executable, "-m", "tests.support.replays", str(tmp_path / name)],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            timeout=120,
        )
    for table in (REQUESTS, REFRESHES):
        one, two = ((tmp_path / name / "run" / table).read_bytes() for name in ("one", "two"))
        assert one == two
    requests, refreshes = records(tmp_path / "one" / "run")
    assert len(requests) == 120
    assert {"fresh", "network"} <= set(refreshes["outcome"])


def test_another_seed_gives_other_records(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    settings = replay_settings(bundle)
    replay_tiny(tmp_path / "a", bundle, settings)
    replay_tiny(tmp_path / "b", bundle, settings.model_copy(update={"seed": 1}))
    one, other = (records(tmp_path / name)[0] for name in ("a", "b"))
    assert not one["scheduled_s"].equals(other["scheduled_s"])


@pytest.mark.parametrize("align", ["users", "none"])
@pytest.mark.parametrize("failure", ["refuse", "hang"])
@pytest.mark.parametrize("k", [1, 3])
def test_history_holds_through_outages(tmp_path: Path, align: str, failure: str, k: int) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    outages = {"kind": "periodic", "period_s": 12.0, "outage_s": 5.0, "failure": failure}
    settings = replay_settings(
        bundle,
        device={"k": k, "link": {"deadline_s": 2.0}},
        align=align,
        duration_s=60.0,
        devices_per_link=8,
        cloud_latency_s=0.3,
        availability=outages,
    )
    log = make_log(users=40, events=25)
    result = replay_tiny(tmp_path / "run", bundle, settings, log=log)
    requests, refreshes = records(tmp_path / "run")
    assert len(requests) == result.requests == 400
    check_history(requests, refreshes, gamma_max=bundle.manifest.calibration.gamma_max)
    away = ~requests["cloud_up"].to_numpy()
    np.testing.assert_array_equal(away, np.fmod(numbers(requests, "started_s"), 12.0) >= 7.0)
    assert 100 < away.sum() < 250
    outcomes = set(refreshes["outcome"])
    assert "fresh" in outcomes
    assert ("network" if failure == "refuse" else "deadline") in outcomes
    assert "breaker" in outcomes
    # No answer waits for the cloud, however it is away.
    assert numbers(requests, "latency_scheduled_ms").max() < 1e-3
    assert numbers(refreshes, "latency_ms").max() <= 2000.0 + 1e-6
