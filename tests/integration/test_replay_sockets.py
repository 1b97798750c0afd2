"""The wall-clock replay over real sockets and a real redis-server, while the cloud goes away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import MemorySnapshotStore, RedisSnapshotStore
from device_runtime.cloud.transport import HttpTransport
from launch.redis_server import RedisServer
from loadtest.records.checksums import SUMS
from loadtest.records.record_table import numbers
from loadtest.records.recorder import Recorder
from loadtest.replay.replay import ReplayResult, replay
from loadtest.timing.clock import WallClock
from shared.progress import NullProgress
from shared.refresh_file import RefreshKnowledge
from shared.split import split_log
from tests.support.bundles import make_bundle, random_gain
from tests.support.cloud import quiet
from tests.support.histories import check_history
from tests.support.replays import records, replay_settings
from tests.support.servers import serving
from tests.support.staleness import make_log

ROOT = Path(__file__).parents[2]
# A minute of replay whose refreshes hang; says so once it is in the warm-up or in the window.
INTERRUPTED = """
import asyncio, sys
from contextlib import asynccontextmanager
from pathlib import Path
from device_runtime.cloud.transport import TransportError
from tests.support.transports import ScriptedTransport
from tests.support.bundles import make_bundle
from tests.support.replays import replay_settings, replay_tiny

folder, moment = Path(sys.argv[1]), sys.argv[2]
bundle = make_bundle(folder / "bundle")
hangs = {"kind": "never", "failure": "hang"}
settings = replay_settings(bundle, clock="wall", duration_s=60.0, availability=hangs,
                           device={"link": {"deadline_s": 3.0 if moment == "warm-up" else 0.5}})
@asynccontextmanager
async def no_cloud(clock):
    if moment == "warm-up":
        asyncio.get_running_loop().call_later(1.0, print, "running")
    yield lambda: ScriptedTransport([TransportError("gone")])
def tick(state):
    if moment == "window" and state.answered:
        print("running")
replay_tiny(folder / "run", bundle, settings, open_cloud=no_cloud, on_tick=tick)
"""


async def test_every_request_is_answered_through_outages(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    settings = replay_settings(
        bundle,
        device={"k": 2, "link": {"deadline_s": 3.0, "breaker_open_s": 0.5}},
        clock="wall",
        duration_s=6.0,
        users=60,
        devices_per_link=20,
        availability={"kind": "periodic", "period_s": 3.0, "outage_s": 1.0},
    )
    log = make_log(users=80, events=25)

    async def run(name: str, url: str) -> ReplayResult:
        with Recorder(tmp_path / name) as recorder:
            return await replay(
                log,
                split_log(log, test_steps=10),
                bundle,
                settings,
                lambda: HttpTransport(url),
                clock=WallClock(),
                recorder=recorder,
                progress=NullProgress(),
            )

    async with RedisServer(tmp_path / "redis") as redis:
        store = RedisSnapshotStore(redis.url.get_secret_value(), ttl_s=60, deadline_s=2)
        app = create_app(
            settings,
            bundle=bundle,
            embedder=HashingEmbedder(bundle.manifest.embedder.dim),
            store=store,
            telemetry=quiet()[0],
        )
        async with serving(app) as url:
            results = [await run(name, url) for name in ("first", "second")]
        await store.aclose()
    # The second run meets a Redis that holds the first one's later snapshots of the same users.
    for name, result in zip(("first", "second"), results, strict=True):
        requests, refreshes = records(tmp_path / name)
        assert len(requests) == result.requests == 600
        # A busy machine may lose a device's snapshot of the warm-up: it answers without one.
        empty = set(requests.filter(requests["source"] == "local")["user"])
        early = refreshes.filter(refreshes["started_s"] < 0)
        assert not empty & set(early.filter(early["outcome"] == "fresh")["user"])
        check_history(requests, refreshes, gamma_max=bundle.manifest.calibration.gamma_max)
        lost = refreshes.filter(~refreshes["cloud_up"] & (refreshes["started_s"] >= 0))
        # One that outlives its outage may retry into better times.
        inside = numbers(lost, "finished_s") < (numbers(lost, "started_s") // 3.0 + 1) * 3.0
        assert inside.sum() > 20
        assert "fresh" not in set(lost.filter(inside)["outcome"])
        fresh = refreshes.filter(refreshes["outcome"] == "fresh")
        assert len(fresh) > 100
        assert (fresh["latency_ms"] > 0).all()
        assert (fresh["response_bytes"] > 100).all()
        assert (requests["latency_service_ms"] > 0).all()
        late = numbers(requests, "started_s") - numbers(requests, "scheduled_s")
        assert late.min() >= 0


@pytest.mark.parametrize("scope", ["device", "fleet"])
async def test_a_budget_is_kept_on_the_wall_clock(tmp_path: Path, scope: str) -> None:
    bundle = make_bundle(tmp_path / "bundle", refresh=RefreshKnowledge(gain=random_gain()))
    settings = replay_settings(
        bundle,
        device={"policy": "expected-gain", "budget": 0.2, "budget_scope": scope},
        clock="wall",
        duration_s=5.0,
        users=40,
        steps=20,
        availability={"kind": "periodic", "period_s": 2.5, "outage_s": 0.8},
    )
    log = make_log(users=40, events=40)
    app = create_app(
        settings,
        bundle=bundle,
        embedder=HashingEmbedder(bundle.manifest.embedder.dim),
        store=MemorySnapshotStore(),
        telemetry=quiet()[0],
    )
    async with serving(app) as url:
        with Recorder(tmp_path / "run") as recorder:
            await replay(
                log,
                split_log(log, test_steps=20),
                bundle,
                settings,
                lambda: HttpTransport(url),
                clock=WallClock(),
                recorder=recorder,
                progress=NullProgress(),
            )
    requests, refreshes = records(tmp_path / "run")
    asked = refreshes.filter(refreshes["started_s"] >= 0)
    assert len(requests) == 800
    assert {"fresh", "network"} <= set(asked["outcome"])
    share = len(asked) / 800
    # A device's own account may be calls behind after 20 requests, the more so when refreshes
    # take longer than the pause between two requests.
    assert share == pytest.approx(0.2, rel=0.1) if scope == "fleet" else 0.12 < share < 0.24


@pytest.mark.parametrize("moment", ["warm-up", "window"])
def test_ctrl_c_writes_the_records_and_ends(tmp_path: Path, moment: str) -> None:
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", INTERRUPTED, str(tmp_path), moment],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        os.kill(child.pid, signal.SIGINT)
        _, complaint = child.communicate(timeout=20)
    finally:
        child.kill()
        child.wait()
    assert complaint.rstrip().endswith("KeyboardInterrupt")
    assert child.returncode == -signal.SIGINT
    requests, _ = records(tmp_path / "run")
    assert len(requests) < 120
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        SUMS,
        "refreshes.parquet",
        "requests.parquet",
    ]
