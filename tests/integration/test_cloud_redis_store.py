"""The snapshot store against a real redis-server."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis.asyncio as redis

from cloud_service.store.snapshot_store import RedisSnapshotStore, key
from launch.redis_server import RedisServer
from shared.errors import SnapshotCorrupt, StoreUnavailable
from shared.snapshot import decode
from tests.support.servers import DelayProxy, free_port
from tests.support.snapshots import BUNDLE, blob_of


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisSnapshotStore]:
    store = RedisSnapshotStore(server.url.get_secret_value(), ttl_s=60, deadline_s=2)
    yield store
    await store.aclose()


async def test_newest_wins_whatever_the_order(store: RedisSnapshotStore) -> None:
    steps = list(range(40))
    random.Random(0).shuffle(steps)
    accepted = [await store.put_if_newer("ada", BUNDLE, blob_of("ada", t)) for t in steps]
    best, expected = -1, []
    for step in steps:
        expected.append(step > best)
        best = max(best, step)
    assert accepted == expected
    assert await store.get("ada", BUNDLE) == blob_of("ada", 39)


async def test_newest_wins_among_concurrent_writers(
    server: RedisServer, store: RedisSnapshotStore
) -> None:
    other = RedisSnapshotStore(server.url.get_secret_value(), ttl_s=60, deadline_s=2)
    blobs = [blob_of("ada", tau) for tau in range(60)]
    random.Random(1).shuffle(blobs)
    await asyncio.gather(
        *((store, other)[i % 2].put_if_newer("ada", BUNDLE, b) for i, b in enumerate(blobs))
    )
    await other.aclose()
    assert await store.get("ada", BUNDLE) == blob_of("ada", 59)


async def test_same_step_later_computation_wins_and_a_repetition_is_no_refusal(
    store: RedisSnapshotStore,
) -> None:
    # Milliseconds whose bytes cross a sign bit: the comparison must be of unsigned bytes.
    early, late = blob_of("ada", 3, 0x7F), blob_of("ada", 3, 0x80)
    assert await store.put_if_newer("ada", BUNDLE, late)
    assert not await store.put_if_newer("ada", BUNDLE, early)
    assert await store.put_if_newer("ada", BUNDLE, late)


async def test_users_and_bundles_lie_apart_and_snapshots_expire(
    server: RedisServer, store: RedisSnapshotStore
) -> None:
    brief = RedisSnapshotStore(server.url.get_secret_value(), ttl_s=0.05, deadline_s=2)
    await brief.put_if_newer("bob", BUNDLE, blob_of("bob", 1))
    await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
    assert await store.get("ada", "another") is None
    assert await store.get("bob", BUNDLE) == blob_of("bob", 1)
    await asyncio.sleep(0.1)
    assert await store.get("bob", BUNDLE) is None
    assert await store.get("ada", BUNDLE) is not None
    async with redis.from_url(server.url.get_secret_value()) as raw:
        assert [k async for k in raw.scan_iter()] == [b"scalrec:{ada}:snapshot:" + BUNDLE.encode()]
        assert 0 < await raw.pttl(key("ada", BUNDLE)) <= 60_000
    await brief.aclose()


async def test_discard_removes_only_what_was_seen(store: RedisSnapshotStore) -> None:
    await store.put_if_newer("ada", BUNDLE, blob_of("ada", 2))
    await store.discard("ada", BUNDLE, blob_of("ada", 1))
    assert await store.get("ada", BUNDLE) == blob_of("ada", 2)
    await store.discard("ada", BUNDLE, blob_of("ada", 2))
    assert await store.get("ada", BUNDLE) is None


async def test_redis_down_at_first_then_up_then_killed_and_back(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", port=free_port())
    await server.start()
    url = server.url.get_secret_value()
    await server.stop()
    store = RedisSnapshotStore(url, ttl_s=60, deadline_s=1)
    try:
        with pytest.raises(StoreUnavailable, match="check that it runs"):
            await store.ping()
        for _ in range(2):
            await server.start()
            # The script must load again by itself, and pooled connections are dead.
            assert await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
            assert await store.get("ada", BUNDLE) == blob_of("ada", 1)
            assert server.process is not None
            server.process.kill()
            await server.stop()
            for call in (store.get("ada", BUNDLE), store.put_if_newer("a", BUNDLE, b"x" * 40)):
                with pytest.raises(StoreUnavailable):
                    await call
    finally:
        await store.aclose()
        await server.stop()


async def test_a_silent_redis_costs_no_more_than_the_deadline() -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    store = RedisSnapshotStore(f"redis://127.0.0.1:{port}", ttl_s=60, deadline_s=1)
    started = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailable):
        await store.get("ada", BUNDLE)
    assert asyncio.get_running_loop().time() - started < 1.7  # its repetition included
    await store.aclose()
    silent.close()


async def test_cancelled_commands_never_hand_a_blob_to_another_user(server: RedisServer) -> None:
    """Cancel at random moments behind a slow network; what others read stays their own."""
    url = urlsplit(server.url.get_secret_value())
    users = [f"user-{i}" for i in range(12)]
    rng = random.Random(7)
    async with DelayProxy(server.port, max_delay_s=0.004) as proxy:
        netloc = url.netloc.replace(f":{server.port}", f":{proxy.port}")
        slow = RedisSnapshotStore(
            urlunsplit(url._replace(netloc=netloc)), ttl_s=60, deadline_s=2, max_connections=4
        )
        for user in users:
            await slow.put_if_newer(user, BUNDLE, blob_of(user, 1))
        reads = cancelled = 0

        async def read(user: str, patience_s: float | None) -> None:
            nonlocal reads, cancelled
            task = asyncio.create_task(slow.get(user, BUNDLE))
            if patience_s is not None:
                await asyncio.sleep(patience_s)
                cancelled += task.cancel()
            try:
                blob = await task
            except asyncio.CancelledError:
                return
            assert blob is not None
            assert decode(blob).user == user
            reads += 1

        for _ in range(40):
            await asyncio.gather(
                *(
                    read(rng.choice(users), rng.uniform(0, 0.004) if rng.random() < 0.5 else None)
                    for _ in range(12)
                )
            )
        # Every user can still be read: no connection was lost to the pool.
        for user in users:
            await read(user, None)
        await slow.aclose()
    assert cancelled > 50
    assert reads > 100
    assert proxy.connections <= 4  # commands run to their end: none had to be torn down


async def test_reads_that_come_together_are_one_round_trip_and_each_gets_its_own(
    server: RedisServer, store: RedisSnapshotStore
) -> None:
    users = [f"user-{n}" for n in range(50)]
    for n, user in enumerate(users):
        assert await store.put_if_newer(user, BUNDLE, blob_of(user, n + 1))
    client = redis.Redis.from_url(server.url.get_secret_value())
    await client.hset("scalrec:{odd}:snapshot:" + BUNDLE, "not", "a string")  # type: ignore[misc]
    asked = [*users, "nobody", "odd"]
    blobs = await asyncio.gather(
        *(store.get(user, BUNDLE) for user in asked), return_exceptions=True
    )
    assert blobs[:50] == [blob_of(user, n + 1) for n, user in enumerate(users)]
    assert blobs[50] is None
    assert isinstance(blobs[51], SnapshotCorrupt)  # and nobody else's read failed with it
    clients = (await client.info("clients"))["connected_clients"]
    assert clients <= 3  # fifty reads did not need a connection each
    await client.aclose()
