"""Whatever is written in whatever order, the newest snapshot of each user is what is read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_service.store.snapshot_store import (
    MemorySnapshotStore,
    RedisSnapshotStore,
    SnapshotStore,
)
from launch.redis_server import RedisServer
from shared.snapshot import Snapshot, decode, encode
from tests.support.tiers import examples

BUNDLE = "9f2c1a7be04d5533"
WRITES = st.lists(
    st.tuples(
        st.sampled_from(["ada", "bob"]),
        st.integers(0, (1 << 22) - 1) | st.integers(0, 3),
        st.integers(0, (1 << 42) - 1) | st.integers(126, 129),
    ),
    min_size=1,
    max_size=12,
)
NEAR = st.lists(
    st.tuples(st.sampled_from(["ada", "bob"]), st.integers(0, 5), st.integers(0, 300)),
    min_size=1,
    max_size=12,
)
Writes = list[tuple[str, int, int]]
FOREVER_S = float(1 << 42)  # a window within which all moments lie
WINDOW_MS = 50


def blob_of(user: str, tau: int, created_ms: int) -> bytes:
    one = np.ones(1, dtype=np.float32)
    return encode(
        Snapshot(
            user=user,
            tau=tau,
            created_ms=created_ms,
            bundle_id=BUNDLE,
            e_sem=one,
            items=np.zeros(1, np.int32),
            scores=one,
        )
    )


async def check(store: SnapshotStore, writes: Writes, concurrently: bool) -> None:
    puts = [store.put_if_newer(w[0], BUNDLE, blob_of(*w)) for w in writes]
    if concurrently:
        accepted = await asyncio.gather(*puts)
    else:
        accepted = [await put for put in puts]
    for user in {w[0] for w in writes}:
        blob = await store.get(user, BUNDLE)
        assert blob is not None
        snapshot = decode(blob)
        newest = max(w[1:] for w in writes if w[0] == user)
        assert (snapshot.user, snapshot.tau, snapshot.created_ms) == (user, *newest)
    if not concurrently:
        for i, write in enumerate(writes):
            before = [w[1:] for w in writes[:i] if w[0] == write[0]]
            assert accepted[i] == (not before or write[1:] >= max(before))


@given(writes=WRITES, concurrently=st.booleans())
def test_memory_store(writes: Writes, concurrently: bool) -> None:
    asyncio.run(check(MemorySnapshotStore(FOREVER_S), writes, concurrently))


async def check_window(store: SnapshotStore, writes: Writes) -> None:
    """Within the window the higher version stays; beyond it the later computation does."""
    kept: dict[str, tuple[int, int]] = {}
    for user, tau, created_ms in writes:
        held = kept.get(user)
        wins = held is None or (tau, created_ms) >= held or created_ms - held[1] > WINDOW_MS
        assert await store.put_if_newer(user, BUNDLE, blob_of(user, tau, created_ms)) == wins
        if wins:
            kept[user] = (tau, created_ms)
        blob = await store.get(user, BUNDLE)
        assert blob is not None
        assert (decode(blob).tau, decode(blob).created_ms) == kept[user]


@given(writes=NEAR | WRITES)
def test_memory_store_lets_time_decide_beyond_the_window(writes: Writes) -> None:
    asyncio.run(check_window(MemorySnapshotStore(WINDOW_MS / 1000), writes))


def test_a_huge_step_blocks_its_user_for_the_window_only() -> None:
    async def run() -> None:
        store = MemorySnapshotStore(60.0)
        huge = blob_of("ada", (1 << 22) - 1, 1_000_000)
        assert await store.put_if_newer("ada", BUNDLE, huge)
        assert not await store.put_if_newer("ada", BUNDLE, blob_of("ada", 43, 1_060_000))
        assert await store.put_if_newer("ada", BUNDLE, blob_of("ada", 43, 1_060_001))

    asyncio.run(run())


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    asyncio.run(server.start())
    yield server.url.get_secret_value()
    asyncio.run(server.stop())


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writes=WRITES, concurrently=st.booleans())
def test_redis_store(redis_url: str, writes: Writes, concurrently: bool) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.flushall()

    async def run() -> None:
        store = RedisSnapshotStore(redis_url, ttl_s=60, deadline_s=5, reorder_window_s=FOREVER_S)
        try:
            await check(store, writes, concurrently)
        finally:
            await store.aclose()

    asyncio.run(run())


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writes=NEAR | WRITES)
def test_redis_store_lets_time_decide_beyond_the_window(redis_url: str, writes: Writes) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.flushall()

    async def run() -> None:
        window_s = WINDOW_MS / 1000
        store = RedisSnapshotStore(redis_url, ttl_s=60, deadline_s=5, reorder_window_s=window_s)
        try:
            await check_window(store, writes)
        finally:
            await store.aclose()

    asyncio.run(run())
