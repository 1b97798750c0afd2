"""A promoted replica is followed: by address, as managed services do it, and by Sentinel."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloud_service.store.snapshot_store import RedisSnapshotStore
from launch.ports import LOOPBACK
from shared.errors import ConfigError, StoreUnavailable
from shared.snapshot import decode
from tests.support.redis_nodes import (
    Forwarder,
    RedisNode,
    keys_without_ttl,
    primary_and_replica,
    sentinel_of,
    until,
    until_linked,
)
from tests.support.snapshots import BUNDLE, blob_of

USERS = tuple(f"user-{n}" for n in range(8))
SOON_S = 1.0  # from the promotion to the first good put


@dataclass
class Load:
    """Puts and gets of all users, one after the other each, until it is stopped.

    Attributes:
        written: step of each user that the store last took, and when (monotonic seconds).
        failed: conditions of the calls that failed.
        torn: what was read and was no snapshot of its user.
        backwards: reads that were older than the one before, for the same user.
    """

    store: RedisSnapshotStore
    written: dict[str, tuple[int, float]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)
    backwards: list[tuple[str, int, int]] = field(default_factory=list)
    _awaited: list[tuple[float, asyncio.Future[float]]] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self._stopped = False
        tasks = [asyncio.create_task(self._user(user)) for user in USERS]
        try:
            yield
        finally:
            self._stopped = True
            await asyncio.gather(*tasks)

    async def first_put_after(self, moment: float, within_s: float = 10.0) -> float:
        """Seconds from ``moment`` until a put had succeeded that was begun after it."""
        put = asyncio.get_running_loop().create_future()
        self._awaited.append((moment, put))
        async with asyncio.timeout(within_s):
            return await put

    async def _user(self, user: str) -> None:
        step = seen = 0
        while not self._stopped:
            step += 1
            begun = time.monotonic()
            try:
                if await self.store.put_if_newer(user, BUNDLE, blob_of(user, step)):
                    self.written[user] = (step, begun)
                    for moment, put in self._awaited:
                        if begun > moment and not put.done():
                            put.set_result(time.monotonic() - moment)
                blob = await self.store.get(user, BUNDLE)
            except StoreUnavailable as error:
                self.failed.append(error.condition)
                await asyncio.sleep(0.01)
                continue
            if blob is not None:
                snapshot = decode(blob)
                if snapshot.user != user or blob != blob_of(user, snapshot.tau):
                    self.torn.append(user)
                if snapshot.tau < seen:
                    self.backwards.append((user, seen, snapshot.tau))
                seen = snapshot.tau
            await asyncio.sleep(0.005)


def store_at(url: str) -> RedisSnapshotStore:
    return RedisSnapshotStore(url, ttl_s=60, deadline_s=1, max_connections=8)


async def promote(replica: RedisNode, old: RedisNode) -> float:
    """Make the replica the primary and the old primary its replica; when that was."""
    await replica.do("REPLICAOF", "NO", "ONE")
    moment = time.monotonic()
    await old.do("REPLICAOF", LOOPBACK, replica.port)
    return moment


async def test_a_replica_promoted_under_load_is_followed_within_a_second(tmp_path: Path) -> None:
    """The old primary lives on as a replica and answers PING: only writes tell."""
    async with primary_and_replica(tmp_path) as (first, second), Forwarder(first.port) as address:
        store = store_at(address.url)
        load = Load(store)
        async with load.running():
            await load.first_put_after(0)
            for old, new in ((first, second), (second, first)):
                await until_linked(new)
                address.target = new.port
                moment = await promote(new, old)
                took = await load.first_put_after(moment)
                assert took < SOON_S, f"{took:.2f} s"
                await store.ping()
        assert load.torn == []
        # A replica that had not got the last puts may hold an older snapshot, never a mixed one.
        for user in USERS:
            step, _ = load.written[user]
            blob = await store.get(user, BUNDLE)
            assert blob is not None
            assert decode(blob).tau >= step
            # What is newer stays, also on the server that was promoted.
            assert not await store.put_if_newer(user, BUNDLE, blob_of(user, step - 1))
        async with first.client() as raw:
            assert await keys_without_ttl(raw) == []
        await store.aclose()
    assert set(load.failed) <= {"read_only"}


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_a_primary_that_dies_is_followed_to_the_promoted_replica(
    tmp_path: Path, how: str
) -> None:
    async with primary_and_replica(tmp_path) as (first, second), Forwarder(first.port) as address:
        store = store_at(address.url)
        load = Load(store)
        async with load.running():
            await load.first_put_after(0)
            pid = first.process.pids[0]
            os.kill(pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            await asyncio.sleep(0.3)  # a failover takes its time; requests go on meanwhile
            await second.do("REPLICAOF", "NO", "ONE")
            address.target = second.port
            moment = time.monotonic()
            # A frozen server keeps every call for the whole deadline, one second, before it is
            # known not to answer.
            most = SOON_S if how == "killed" else SOON_S + 1.0
            assert await load.first_put_after(moment) < most
            await store.ping()
        if how == "frozen":
            os.kill(pid, signal.SIGCONT)
        assert load.torn == []
        async with second.client() as raw:
            assert await keys_without_ttl(raw) == []
        await store.aclose()
    assert set(load.failed) <= {"unreachable", "timeout"}


async def test_a_server_that_only_reads_is_not_ready(tmp_path: Path) -> None:
    async with primary_and_replica(tmp_path) as (_, second):
        store = store_at(second.url)
        with pytest.raises(StoreUnavailable, match="is a replica") as caught:
            await store.ping()
        assert caught.value.condition == "read_only"
        await store.aclose()


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[RedisNode, RedisNode, RedisNode, str]]:
    """A primary, its replica, a Sentinel and the URL of the two that watch them."""
    async with primary_and_replica(folder) as (first, second):
        directives = sentinel_of(first)
        async with (
            RedisNode(folder / "one", *directives, sentinel=True) as one,
            RedisNode(folder / "two", *directives, sentinel=True) as two,
        ):

            async def replica_known() -> bool:
                replicas = await one.do("SENTINEL", "REPLICAS", "snapshots")
                return bool(replicas)

            await until(replica_known)
            hosts = f"{LOOPBACK}:{one.port},{LOOPBACK}:{two.port}"
            yield first, second, one, f"redis+sentinel://{hosts}/snapshots/0"


@pytest.mark.slow
async def test_sentinels_lead_to_the_new_primary(tmp_path: Path) -> None:
    async with watched(tmp_path) as (first, second, sentinel, url):
        store = store_at(url)
        load = Load(store)
        async with load.running():
            await load.first_put_after(0)
            first.process.kill()

            # From there on a client can know: how long Sentinels take before is theirs.
            async def told() -> bool:
                async with sentinel.client() as client:
                    state = await client.sentinel_master("snapshots")  # type: ignore[misc]
                return int(state["port"]) == second.port

            await until(told)
            moment = time.monotonic()
            took = await load.first_put_after(moment)
            assert took < SOON_S, f"{took:.2f} s"
            await store.ping()
        assert load.torn == []
        async with second.client() as raw:
            assert await keys_without_ttl(raw) == []
        await store.aclose()
    assert set(load.failed) <= {"unreachable", "timeout", "read_only", "no_primary"}


async def test_a_silent_sentinel_does_not_keep_the_store_from_the_next(tmp_path: Path) -> None:
    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(swallow, LOOPBACK, 0)
    port = silent.sockets[0].getsockname()[1]
    async with RedisNode(tmp_path / "only") as node:
        directives = sentinel_of(node)
        async with RedisNode(tmp_path / "sentinel", *directives, sentinel=True) as sentinel:
            hosts = f"{LOOPBACK}:{port},{LOOPBACK}:{sentinel.port}"
            store = store_at(f"redis+sentinel://{hosts}/snapshots")
            assert await store.put_if_newer("ada", BUNDLE, blob_of("ada", 1))
            assert await store.get("ada", BUNDLE) == blob_of("ada", 1)
            await store.aclose()
            other = store_at(f"redis+sentinel://{hosts}/elsewhere")
            with pytest.raises(StoreUnavailable, match="Sentinel") as caught:
                await other.ping()
            assert caught.value.condition == "no_primary"
            await other.aclose()
    silent.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel:///snapshots",
        "redis+sentinel://127.0.0.1:port/snapshots",
        "redis+sentinel://127.0.0.1/snapshots/zero",
        "unix+sentinel://127.0.0.1/snapshots",
        "http://127.0.0.1/secret",
        "redis://:pa/ss@127.0.0.1/secret",
        "redis://127.0.0.1/secret",
        "redis://127.0.0.1:99999/0",
        "rediss://127.0.0.1/0?ssl_ca_certs=/none/of/these",
        "rediss://127.0.0.1/0?ssl_cert_reqs=whatever",
        "rediss+sentinel://127.0.0.1/snapshots?ssl_ca_certs=/none/of/these",
        "redis://127.0.0.1/0?colour=secret",
        "redis://127.0.0.1/0?protocol=3",
        "redis://127.0.0.1/0?decode_responses=yes",
        "redis+sentinel://127.0.0.1/snapshots?socket_timeout=9",
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_words(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cloud\.redis_url \(or REDIS_URL\)") as caught:
        store_at(url)
    assert "secret" not in str(caught.value)
    assert "pa/ss" not in str(caught.value)


async def test_a_socket_of_this_machine_and_passwords_everywhere(tmp_path: Path) -> None:
    refuses = "Authentication required"
    socket = tmp_path / "s"
    async with RedisNode(
        tmp_path / "node", f"unixsocket {socket}", "requirepass p%ss", answers=refuses
    ) as node:
        sentinel_rules = (*sentinel_of(node), "sentinel auth-pass snapshots p%ss",
                          "requirepass of-sentinels")  # fmt: skip
        async with RedisNode(
            tmp_path / "sentinel", *sentinel_rules, sentinel=True, answers=refuses
        ) as sentinel:
            at = f"{LOOPBACK}:{sentinel.port}/snapshots/1"
            urls = {
                f"unix://:p%25ss@{socket}": None,
                f"redis://:p%25ss@{LOOPBACK}:{node.port}/1": None,
                f"redis+sentinel://:p%25ss@{at}?sentinel_password=of-sentinels": None,
                f"redis+sentinel://:p%25ss@{at}?sentinel_password=wrong": "no_primary",
                f"redis+sentinel://:p%25ss@{at}": "no_primary",
                f"redis+sentinel://:wrong@{at}?sentinel_password=of-sentinels": "password",
            }
            for url, condition in urls.items():
                store = store_at(url)
                if condition is None:
                    await store.ping()
                else:
                    with pytest.raises(StoreUnavailable) as caught:
                        await store.ping()
                    assert caught.value.condition == condition, url
                await store.aclose()
