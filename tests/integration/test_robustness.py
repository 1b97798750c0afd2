"""What breaks clients in practice: cancellation anywhere, floods of it, long runs, many devices."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psutil
import pytest

from cloud_service.app import create_app
from cloud_service.embedding.hashing import HashingEmbedder
from cloud_service.store.snapshot_store import RedisSnapshotStore
from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.transport import HttpTransport
from device_runtime.device import Device
from device_runtime.settings import LinkSettings
from launch.redis_server import RedisServer
from loadtest.proxy.client import FaultProxy
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.toxics import Toxic
from loadtest.scenarios.load import load_scenario
from scalrec.jobs.robustness import run_varied, variations
from shared.bundle import Bundle
from shared.progress import Task
from tests.support.bundles import make_bundle
from tests.support.cloud import cloud_settings, quiet
from tests.support.devices import CONTEXT, new_device, observe
from tests.support.scenarios import run_virtually, tiny_run
from tests.support.servers import serving
from tests.support.tiers import first_quick

USERS = ("ann", "bob", "cyd", "dan")
REFRESHES_CANCELLED = 10_000


@pytest.mark.parametrize("number", first_quick(range(6), 2))
async def test_varied_scenarios_hold(tmp_path: Path, number: int) -> None:
    scenario = list(variations(number + 1, seed=1000))[number]

    async def run(_: object, run_dir: Path) -> object:
        return await asyncio.to_thread(run_virtually, run_dir.parent, scenario)

    outcome = await run_varied(scenario, tmp_path / "run", run)  # type: ignore[arg-type]
    assert outcome.verdict.violations == ()
    assert outcome.verdict.passed
    assert not outcome.run_dir.exists()


@asynccontextmanager
async def cloud_behind_proxies(
    folder: Path, bundle: Bundle
) -> AsyncIterator[tuple[FaultProxy, str]]:
    """The real service and a real Redis, a fault proxy before each; the service's address."""
    async with (
        RedisServer(folder / "redis") as redis,
        serving(control_app(Switchboard())) as control,
        FaultProxy(control) as proxy,
    ):
        spec = await proxy.create("redis", upstream=f"127.0.0.1:{redis.port}", listen="127.0.0.1:0")
        url = redis.url.get_secret_value().replace(f"127.0.0.1:{redis.port}", spec.listen)
        store = RedisSnapshotStore(url, ttl_s=60, deadline_s=2)
        app = create_app(
            cloud_settings(auth="off", device_requests_per_minute=0),
            bundle=bundle,
            embedder=HashingEmbedder(bundle.manifest.embedder.dim),
            store=store,
            telemetry=quiet()[0],
        )
        async with serving(app) as direct:
            spec = await proxy.create(
                "cloud", upstream=direct.removeprefix("http://"), listen="127.0.0.1:0"
            )
            yield proxy, f"http://{spec.listen}"
        await store.aclose()
        assert await redis.lasting_keys() == []


def devices_of(bundle: Bundle) -> list[Device]:
    devices = [new_device(bundle, user) for user in USERS]
    for place, device in enumerate(devices):
        observe(device, [place, place + 5, place + 9])
    return devices


async def test_cancelling_a_refresh_at_any_moment_mixes_nothing_up(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    link_settings = LinkSettings(deadline_s=3.0)
    cancelled = fresh = 0
    async with cloud_behind_proxies(tmp_path, bundle) as (proxy, url):
        slow = {"latency": 3, "jitter": 3}
        for name in ("redis", "cloud"):
            for stream in ("upstream", "downstream"):
                await proxy.add(
                    name, Toxic.model_validate({"type": "latency", "stream": stream,
                                                "attributes": slow})
                )  # fmt: skip
        link = CloudLink(HttpTransport(url, max_connections=3), link_settings)
        devices = devices_of(bundle)
        for turn in range(150):
            observe(devices[turn % 4], [turn % 50])
            tasks = [asyncio.create_task(device.refresh(link, CONTEXT)) for device in devices]
            # Steps of a third of a millisecond lead through every await of a refresh in turn.
            await asyncio.sleep(turn / 3000)
            tasks[turn % 4].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled += isinstance(results[turn % 4], asyncio.CancelledError)
            fresh += sum(getattr(result, "outcome", "") == "fresh" for result in results)
            for user, device in zip(USERS, devices, strict=True):
                held = device.snapshot
                assert held is None or held.snapshot.user == user
        await proxy.reset()
        for user, device in zip(USERS, devices, strict=True):
            observe(device, [1])
            result = await device.refresh(link, CONTEXT)
            assert result is not None
            assert result.outcome == "fresh"
            assert device.snapshot is not None
            assert device.snapshot.snapshot.user == user
            assert device.snapshot.snapshot.tau == device.step
        await link.aclose()
    assert cancelled > 50
    assert fresh > 300


@pytest.mark.slow
async def test_after_ten_thousand_cancelled_refreshes_the_next_one_succeeds(
    tmp_path: Path,
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    async with cloud_behind_proxies(tmp_path, bundle) as (proxy, url):
        link = CloudLink(HttpTransport(url), LinkSettings(deadline_s=5.0))
        (device, *_) = devices_of(bundle)
        abstract = "Mostly watches drama."
        await proxy.add("cloud", Toxic(type="timeout"))
        for _ in range(REFRESHES_CANCELLED // 250):
            tasks = [
                asyncio.create_task(link.refresh(f"u{n}", abstract, 3, bundle.id))
                for n in range(250)
            ]
            await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in ended)
        await proxy.reset()
        started = time.perf_counter()
        result = await device.refresh(link, CONTEXT)
        took = time.perf_counter() - started
        await link.aclose()
        # What a link without such a past needs, on this machine at this moment.
        unburdened = CloudLink(HttpTransport(url), LinkSettings(deadline_s=5.0))
        observe(device, [2])
        started = time.perf_counter()
        other = await device.refresh(unburdened, CONTEXT)
        usual = time.perf_counter() - started
        await unburdened.aclose()
    assert result is not None
    assert other is not None
    assert (result.outcome, other.outcome) == ("fresh", "fresh"), (result.detail, other.detail)
    assert took < 1.0 + usual


def own_memory() -> int:
    """Bytes that this process holds for itself.

    Without the pages of files it has mapped: the kernel drops and reloads those as it likes when
    others need memory.
    """
    info = psutil.Process().memory_info()
    return int(info.rss - info.shared)


class Memory:
    """A progress that notes this process's memory as the replay advances."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self._replaying = False

    @contextmanager
    def task(self, label: str, total: int | None = None) -> Iterator[Task]:
        self._replaying = label == "Replay"
        yield self
        self._replaying = False

    def advance(self, amount: int = 1, note: str = "") -> None:
        if self._replaying:
            self.held.append(own_memory())


@pytest.mark.slow
def test_a_long_run_does_not_grow(tmp_path: Path) -> None:
    """A day of traffic, 24 times compressed: an hour with an outage every five minutes."""
    scenario = load_scenario("periodic-outage").changed(
        users=20,
        steps=100,
        duration_s=3600.0,
        outages={"kind": "periodic", "period_s": 300.0, "outage_s": 60.0},
    )
    memory = Memory()
    run = tiny_run(tmp_path, scenario, users=20, events=130, test_steps=100, progress=memory)
    gc.collect()
    verdict = run.on_the_virtual_clock(HashingEmbedder(run.bundle.manifest.embedder.dim))
    assert verdict.passed, verdict.violations
    assert verdict.answered == 2000
    settled = memory.held[len(memory.held) // 4]
    assert max(memory.held) < 1.05 * settled


@pytest.mark.slow
def test_thousands_of_devices_fit_into_bounded_memory(tmp_path: Path) -> None:
    """What a device holds for itself, measured on all that it reaches and on the process."""
    devices = 3_000
    few = tiny_run(tmp_path / "few", load_scenario("steady").changed(users=100, steps=1), users=100)
    embedder = HashingEmbedder(few.bundle.manifest.embedder.dim)
    few.on_the_virtual_clock(embedder)
    gc.collect()
    before = own_memory()
    scenario = load_scenario("steady").changed(users=devices, steps=1)
    memory = Memory()
    run = tiny_run(tmp_path / "many", scenario, users=devices, events=8, test_steps=1,
                   progress=memory)  # fmt: skip
    verdict = run.on_the_virtual_clock(embedder)
    assert verdict.passed, verdict.violations
    assert verdict.users == devices
    per_device_kib = (max(memory.held) - before) / devices / 1024
    assert verdict.state_kib < 16
    assert per_device_kib < 64
