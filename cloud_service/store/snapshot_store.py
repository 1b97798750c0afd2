"""SnapshotStore: the last snapshot of every user, one blob each; kept in Redis, or in memory.

Which of two snapshots of a user is kept is one rule, here in Python and in Redis' Lua.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import redis.asyncio as redis
from redis.exceptions import RedisError, ResponseError

from cloud_service.embedding.batcher import Batcher
from cloud_service.store.address import RedisAddress
from cloud_service.store.conditions import LOST, condition_of, unavailable, wrong_kind
from cloud_service.store.connections import RedisConnections
from cloud_service.store.scripts import CREATED_BITS, DISCARD, PUT_IF_NEWER
from shared.errors import SnapshotCorrupt
from shared.snapshot import MAGIC, VERSION_SLICE

REORDER_WINDOW_S = 60.0  # above the longest time a refresh can take
STORE_DEADLINE_S = 1.0
MOST_READS = 64  # in one round trip

# Written by ``ping``: keys with the lowest and the highest slot of a cluster, so that no node of it
# seems to hold everything. They are removed at once, and expire where that fails.
PROBE_KEYS = ("scalrec:{probe-aqlw}:probe", "scalrec:{probe-ia}:probe")
PROBE_TTL_MS = 10_000
_PROBE = MAGIC + bytes(VERSION_SLICE.stop)


def replaces(blob: bytes, current: bytes, window_ms: int) -> bool:
    """Whether ``blob`` may take the place of ``current``.

    It may if its version is higher; if it is the same blob (a retry after a lost reply must not
    look like a refusal); or if it was computed more than ``window_ms`` after the other. Versions
    put refreshes under way at the same time in order, and those lie seconds apart. Beyond that
    the server's time decides, so that no step a client claims can block its user's later
    snapshots for longer than the window.
    """
    if blob == current or blob[VERSION_SLICE] > current[VERSION_SLICE]:
        return True
    return _created_ms(blob) - _created_ms(current) > window_ms


def _created_ms(blob: bytes) -> int:
    return int.from_bytes(blob[VERSION_SLICE], "big") & ((1 << CREATED_BITS) - 1)


class SnapshotStore(Protocol):
    """Keeps the newest blob per user and bundle. May lose it; never tears or mixes it.

    Every method raises StoreUnavailable when the store does not do it in time, with the condition
    it is in. Blobs come back as they are: the reader decodes and verifies each one
    (``shared.snapshot``).
    """

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        """The stored blob, or None. Raises SnapshotCorrupt for a value that is no blob at all."""

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        """Write the blob in one step if it ``replaces`` the stored one, else return False.

        False also where something lies that is no blob: its reader discards it.
        """

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        """Remove exactly this blob, which its reader found unusable; another one stays.

        An empty blob stands for the value that ``get`` raised SnapshotCorrupt for.
        """

    async def ping(self) -> None:
        """Return when the store takes and gives values; what it writes for that does not stay."""

    async def aclose(self) -> None:
        """Release connections."""


class MemorySnapshotStore:
    """Same semantics as RedisSnapshotStore, but for the TTL: it ends with the process."""

    def __init__(self, reorder_window_s: float = REORDER_WINDOW_S) -> None:
        self._window_ms = round(reorder_window_s * 1000)
        self._blobs: dict[tuple[str, str], bytes] = {}

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        return self._blobs.get((user, bundle_id))

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        current = self._blobs.get((user, bundle_id))
        if current is not None and not replaces(blob, current, self._window_ms):
            return False
        self._blobs[user, bundle_id] = blob
        return True

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        if self._blobs.get((user, bundle_id)) == blob:
            del self._blobs[user, bundle_id]

    def clear(self) -> None:
        """Lose everything, as a Redis without persistence does when it is restarted."""
        self._blobs.clear()

    async def ping(self) -> None:
        """Always there."""

    async def aclose(self) -> None:
        self._blobs.clear()


class RedisSnapshotStore:
    """One key per user and bundle, the user as hash tag; one SET per snapshot, with a TTL.

    Connects at the first command and again after every loss, so it may be made while Redis is
    down, and follows a failover (``RedisConnections``). Reads that come together go out together.

    Args:
        url: see ``RedisAddress``.
        ttl_s: life of a snapshot in Redis, seconds.
        deadline_s: for one call, retry included.
        reorder_window_s: see ``replaces``.
        max_connections: of the pool; callers wait for a free one within the deadline.
        dropped: told the condition for which all connections were replaced.

    Raises:
        ConfigError: the URL is malformed.
    """

    def __init__(
        self,
        url: str,
        *,
        ttl_s: float,
        deadline_s: float,
        reorder_window_s: float = REORDER_WINDOW_S,
        max_connections: int = 32,
        dropped: Callable[[str], None] = lambda _: None,
    ):
        self._address = RedisAddress(url, deadline_s=deadline_s, max_connections=max_connections)
        self._redis = RedisConnections(self._address.pool, deadline_s=deadline_s, dropped=dropped)
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._window_ms = round(reorder_window_s * 1000)
        self._reads: Batcher[str, bytes | RedisError | None] = Batcher(self._read, most=MOST_READS)

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        blob = await self._reads.value(key(user, bundle_id))
        if isinstance(blob, RedisError):
            if wrong_kind(blob):
                raise SnapshotCorrupt("the user's key holds another type of value than a blob")
            raise unavailable(blob)
        return blob

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        args = (key(user, bundle_id), blob, self._ttl_ms, self._window_ms)
        return await self._redis.run(lambda client: PUT_IF_NEWER.run(client, *args))

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        # The blob may have come from a connection that is out of step: keep none of them.
        self._redis.drop("unusable_value")
        await self._redis.run(lambda client: DISCARD.run(client, key(user, bundle_id), blob))

    async def ping(self) -> None:
        for probe in PROBE_KEYS:
            args = (probe, _PROBE, PROBE_TTL_MS, self._window_ms)
            await self._redis.run(lambda client, args=args: PUT_IF_NEWER.run(client, *args))  # type: ignore[misc]
            await self._redis.run(lambda client, of=probe: DISCARD.run(client, of, _PROBE))  # type: ignore[misc]

    async def aclose(self) -> None:
        await self._redis.aclose()
        await self._address.aclose()

    async def _read(self, keys: Sequence[str]) -> list[bytes | RedisError | None]:
        blobs = await self._redis.run(lambda client: _get(client, keys))
        # decode_responses is off, so what is not bytes is an answer to some other command.
        kept = (bytes, RedisError, type(None))
        return [b if isinstance(b, kept) else str(b).encode() for b in blobs]


async def _get(client: redis.Redis, keys: Sequence[str]) -> list[Any]:
    """One answer each; an error is the answer to its own key, unless the server itself is lost."""
    answers: list[Any]
    if len(keys) == 1:
        try:
            answers = [await client.get(keys[0])]
        except ResponseError as error:
            answers = [error]
    else:
        # Not MGET: keys of several users may lie on several nodes behind one address.
        pipeline = client.pipeline(transaction=False)
        for one in keys:
            pipeline.get(one)
        answers = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, RedisError) and condition_of(answer) in LOST:
            raise answer
    return answers


def key(user: str, bundle_id: str) -> str:
    """Redis key of a snapshot; the braces keep one user's keys on one node of a cluster."""
    return f"scalrec:{{{user}}}:snapshot:{bundle_id}"
