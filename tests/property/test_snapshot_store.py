"""Whatever is written in whatever order, the newest snapshot of each user is what is read."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud_service.launch.redis_server import RedisServer
from cloud_service.memory_store import MemorySnapshotStore
from cloud_service.snapshot_store import RedisSnapshotStore, SnapshotStore
from shared.snapshot import Snapshot, decode, encode

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
Writes = list[tuple[str, int, int]]


def blob_of(user: str, tau: int, created_ms: int) -> bytes:
    one = np.ones(1, dtype=np.float32)
    return encode(Snapshot(user, tau, created_ms, BUNDLE, one, np.zeros(1, np.int32), one))


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
    asyncio.run(check(MemorySnapshotStore(), writes, concurrently))


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = RedisServer(Path(tmp_path_factory.mktemp("redis")))
    asyncio.run(server.start())
    yield server.url.get_secret_value()
    asyncio.run(server.stop())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(writes=WRITES, concurrently=st.booleans())
def test_redis_store(redis_url: str, writes: Writes, concurrently: bool) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.flushall()

    async def run() -> None:
        store = RedisSnapshotStore(redis_url, ttl_s=60, deadline_s=5)
        try:
            await check(store, writes, concurrently)
        finally:
            await store.aclose()

    asyncio.run(run())
