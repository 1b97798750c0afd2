import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from device_runtime.cloud.link import CloudLink
from device_runtime.cloud.transport import TransportError
from device_runtime.settings import LinkSettings
from loadtest.records.recorder import REFRESHES, Recorder
from loadtest.replay.refresh_pool import RefreshJob, RefreshPool
from loadtest.timing.clock import ReplayTime, VirtualClock
from loadtest.timing.virtual_loop import run_virtual
from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.devices import CONTEXT, FakeCloud, new_device, observe
from tests.support.transports import ScriptedTransport


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "bundle")


def run(
    folder: Path,
    bundle: Bundle,
    body: Callable[[RefreshPool, ReplayTime, Callable[..., RefreshJob]], Coroutine[Any, Any, None]],
    *,
    limit: int = 2,
    delay_s: float = 1.0,
    link: LinkSettings | None = None,
) -> pl.DataFrame:
    """Run ``body`` with a pool and a maker of jobs; returns the refreshes recorded."""

    async def main() -> None:
        time = ReplayTime(VirtualClock())
        pool = RefreshPool(limit, time, lambda t: True, recorder)

        def job(user: int, answer: object = None) -> RefreshJob:
            name = f"u{user}"
            device = new_device(bundle, name)
            observe(device, [1, 2, 3])
            answers = [answer or FakeCloud(bundle, name)]
            transport = ScriptedTransport(answers, delay_s=delay_s)  # type: ignore[arg-type]
            settings = link or LinkSettings(attempts=1)
            return RefreshJob(user, device, CloudLink(transport, settings, time.clock), CONTEXT)

        await body(pool, time, job)

    with Recorder(folder / "run") as recorder:
        run_virtual(main)
    return pl.read_parquet(folder / "run" / REFRESHES)


def test_success_and_failure_are_recorded_with_what_the_device_then_holds(
    tmp_path: Path, bundle: Bundle
) -> None:
    async def body(pool: RefreshPool, time: ReplayTime, job: Callable[..., RefreshJob]) -> None:
        time.start()
        await asyncio.sleep(2.0)
        assert pool.start(job(0))
        assert pool.start(job(1, TransportError("gone")))
        await pool.drain(5.0)
        assert (pool.ended, pool.failed, pool.skipped, pool.cancelled) == (2, 1, 0, 0)

    rows = run(tmp_path, bundle, body).sort("user").to_dicts()
    assert [r["outcome"] for r in rows] == ["fresh", "network"]
    assert [r["tau"] for r in rows] == [3, -1]
    assert rows[0]["version"] > 0 == rows[1]["version"]
    assert [(r["started_s"], r["finished_s"], r["latency_ms"]) for r in rows] == [
        (2.0, 3.0, 1000.0)
    ] * 2
    assert all(r["step"] == 3 and r["attempts"] == 1 and r["request_bytes"] > 50 for r in rows)
    assert rows[0]["response_bytes"] > 100


def test_beyond_the_limit_refreshes_are_skipped_not_queued(tmp_path: Path, bundle: Bundle) -> None:
    async def body(pool: RefreshPool, time: ReplayTime, job: Callable[..., RefreshJob]) -> None:
        time.start()
        assert [pool.start(job(n)) for n in range(4)] == [True, True, False, False]
        await asyncio.sleep(1.5)
        assert pool.start(job(4))
        await pool.drain(5.0)
        assert pool.skipped == 2

    assert sorted(run(tmp_path, bundle, body)["user"]) == [0, 1, 4]


def test_grace_then_cancel_and_nothing_is_left(tmp_path: Path, bundle: Bundle) -> None:
    async def body(pool: RefreshPool, time: ReplayTime, job: Callable[..., RefreshJob]) -> None:
        time.start()
        pool.start(job(0))
        await asyncio.sleep(0.9)
        pool.start(job(1))
        await pool.drain(0.5)
        assert pool.cancelled == 1
        assert len(asyncio.all_tasks()) == 1

    assert run(tmp_path, bundle, body)["user"].to_list() == [0]


def test_warm_up_keeps_to_the_limit_and_is_dated_before_the_window(
    tmp_path: Path, bundle: Bundle
) -> None:
    done: list[int] = []

    async def body(pool: RefreshPool, time: ReplayTime, job: Callable[..., RefreshJob]) -> None:
        await pool.warm_up([job(n) for n in range(6)], lambda: done.append(1))
        assert asyncio.get_running_loop().time() == 3.0  # 6 jobs of 1 s, two at a time
        time.start()
        pool.window_began()

    rows = run(tmp_path, bundle, body)
    assert len(done) == 6
    assert rows["started_s"].to_list() == [-3.0, -3.0, -2.0, -2.0, -1.0, -1.0]
    assert rows["finished_s"].max() == 0.0


def test_a_bug_in_a_refresh_is_not_swallowed(tmp_path: Path, bundle: Bundle) -> None:
    async def body(pool: RefreshPool, time: ReplayTime, job: Callable[..., RefreshJob]) -> None:
        time.start()
        pool.start(job(0, ZeroDivisionError("a bug")))
        await asyncio.sleep(2.0)
        with pytest.raises(ZeroDivisionError):
            pool.start(job(1))
        with pytest.raises(ZeroDivisionError):
            await pool.drain(1.0)

    assert len(run(tmp_path, bundle, body)) == 0
