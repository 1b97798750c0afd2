"""Fleets whose devices rank by collaborative inference, over lists that a real generator writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore
from device_runtime.cloud.transport import HttpTransport
from loadtest.records.record_table import numbers
from loadtest.records.recorder import Recorder
from loadtest.replay.replay import replay
from loadtest.timing.clock import WallClock
from scalrec.settings import Settings
from shared.bundle import Bundle
from shared.progress import NullProgress
from shared.split import split_log
from tests.support.bundles import make_bundle
from tests.support.cloud import quiet
from tests.support.generators import small_generator, with_generator
from tests.support.histories import check_history
from tests.support.replays import records, replay_settings, replay_tiny
from tests.support.servers import serving
from tests.support.staleness import make_log

COLLABORATIVE = {"ranking": "collaborative", "initial_share": 0.4}
ASKING = {"policy": "inconsistency", "budget": 0.3}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("bundle")
    plain = make_bundle(path / "plain")
    return with_generator(plain, path / "bundle", small_generator(plain, path))


def settings_of(bundle: Bundle, device: dict[str, object], **replayed: object) -> Settings:
    usual = replay_settings(bundle, device=device, **replayed)
    cloud = usual.cloud.model_copy(update={"candidates_from": "generative"})
    embedder = usual.embedder.model_copy(update={"deadline_s": 10.0})
    return usual.model_copy(update={"cloud": cloud, "embedder": embedder})


def answers_were_fused(requests: pl.DataFrame) -> None:
    """Nothing was calibrated, and neither side of the fusion decided alone."""
    held = requests.filter(pl.col("source") == "snapshot")
    assert (held["rank"] == held["rank_uncalibrated"]).all()
    assert (held["rank"] != held["rank_structure"]).mean() > 0.1
    assert set(held["trust"]) == {1.0}
    assert set(held["de_norm"]) == {0.0}
    assert (held["r"] > 0).all()


async def test_a_fleet_over_real_sockets_ranks_what_the_generator_wrote(
    tmp_path: Path, bundle: Bundle
) -> None:
    settings = settings_of(
        bundle,
        ASKING | COLLABORATIVE | {"budget_scope": "fleet", "link": {"deadline_s": 4.0}},
        clock="wall",
        duration_s=8.0,
        users=30,
        availability={"kind": "periodic", "period_s": 4.0, "outage_s": 1.5},
    )
    log, (telemetry, _) = make_log(users=30, events=25), quiet()
    app = create_app(
        settings,
        bundle=bundle,
        embedder=HashingEmbedder(bundle.manifest.embedder.dim),
        store=MemorySnapshotStore(),
        telemetry=telemetry,
    )
    async with serving(app) as url:
        with Recorder(tmp_path / "run") as recorder:
            await replay(
                log,
                split_log(log, test_steps=10),
                bundle,
                settings,
                lambda: HttpTransport(url),
                clock=WallClock(),
                recorder=recorder,
                progress=NullProgress(),
            )
    written = telemetry.metrics.candidates.labels("generative")._value.get()
    requests, refreshes = records(tmp_path / "run")
    assert len(requests) == 300
    check_history(requests, refreshes, gamma_max=bundle.manifest.calibration.gamma_max)
    answers_were_fused(requests)
    assert {"fresh", "network"} <= set(refreshes["outcome"])
    assert written >= (refreshes["outcome"] == "fresh").sum() > 30
    asked = refreshes.filter(pl.col("started_s") >= 0)
    assert len(asked) / 300 == pytest.approx(0.3, rel=0.15)
    assert np.isfinite(numbers(requests, "latency_service_ms")).all()


def test_when_a_fleet_asks_does_not_depend_on_how_it_ranks(tmp_path: Path, bundle: Bundle) -> None:
    runs = {
        "one": COLLABORATIVE,
        "two": COLLABORATIVE,
        "cloud alone": COLLABORATIVE | {"initial_share": 1.0},
        "adapting": COLLABORATIVE | {"adaptation_rate": 1.0},
        "semantic": {},
    }
    for name, device in runs.items():
        settings = settings_of(bundle, ASKING | device, duration_s=60.0, steps=20)
        log = make_log(users=10, events=40)
        replay_tiny(tmp_path / name, bundle, settings, log=log, test_steps=20)
    found = {name: records(tmp_path / name) for name in runs}
    requests, refreshes = found["one"]
    assert found["two"][0].equals(requests)
    answers_were_fused(requests)
    assert {"fresh", "network"} <= set(refreshes["outcome"])
    assert 0.25 < len(refreshes.filter(pl.col("started_s") >= 0)) / len(requests) < 0.35
    for name in ("two", "cloud alone", "adapting", "semantic"):
        assert found[name][1].equals(refreshes), name
    cues = ["user", "step", "source", "delta", "drift", "omega", "r", "alpha", "rank_structure"]
    for name in ("cloud alone", "adapting", "semantic"):
        others = found[name][0]
        assert others.select(cues).equals(requests.select(cues))
        assert (others["rank"] != requests["rank"]).mean() > 0.05, name
