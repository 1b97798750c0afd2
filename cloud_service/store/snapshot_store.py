"""SnapshotStore: the last snapshot of every user, one blob each; kept in Redis, or in memory.

Which of two snapshots of a user is kept is one rule, here in Python and in Redis' Lua.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from cloud_service.embedding.batcher import Batcher
from shared.errors import ConfigError, StoreUnavailable
from shared.snapshot import VERSION_SLICE, make_version

REORDER_WINDOW_S = 60.0  # above the longest time a refresh can take
CREATED_BITS = make_version(1, 0).bit_length() - 1  # low bits of a version: its server time, ms
MOST_READS = 64  # in one round trip

T = TypeVar("T")

# The version is big-endian, so comparing its bytes compares it. Lua counts from 1, inclusive; its
# numbers are doubles, exact up to 53 bits, so the time is read from the last six bytes.
_VERSION = f"{VERSION_SLICE.start + 1}, {VERSION_SLICE.stop}"
PUT_IF_NEWER = f"""
local function created(blob)
  local bytes, value = {{string.byte(blob, {_VERSION})}}, 0
  for i = 3, 8 do value = value * 256 + bytes[i] end
  return value % 2^{CREATED_BITS}
end
local current = redis.call('GET', KEYS[1])
if current and current ~= ARGV[1]
   and string.sub(current, {_VERSION}) >= string.sub(ARGV[1], {_VERSION})
   and created(ARGV[1]) - created(current) <= tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
STORE_DEADLINE_S = 1.0

_DISCARD = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


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

    Every method raises StoreUnavailable when the store does not answer in time. Blobs come back
    as they are: the reader decodes and verifies each one (``shared.snapshot``).
    """

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        """The stored blob, or None."""

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        """Write the blob in one step if it ``replaces`` the stored one, else return False."""

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        """Remove exactly this blob, which its reader found unusable; another one stays."""

    async def ping(self) -> None:
        """Return when the store answers."""

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
    down. A cancelled caller never cancels a command: a connection given back in the middle of
    a reply would hand that reply to somebody else (redis-py issue 2624). Reads that come together
    go out together.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        ttl_s: life of a snapshot in Redis, seconds.
        deadline_s: for one call, retry included.
        reorder_window_s: see ``replaces``.
        max_connections: of the pool; callers wait for a free one within the deadline.

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
    ):
        try:
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=max_connections,
                timeout=deadline_s,
                socket_timeout=deadline_s,
                socket_connect_timeout=deadline_s,
                decode_responses=False,
                # RESP3 and maintenance pushes would switch off redis-py's own check that a
                # connection from the pool has no unread data.
                protocol=2,
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
                # One repetition: enough for a connection that died while it lay in the pool.
                retry=Retry(
                    NoBackoff(),
                    retries=1,
                    supported_errors=(RedisConnectionError, RedisTimeoutError, OSError),  # type: ignore[arg-type]
                ),
            )
        except ValueError:
            # Not its words: they can quote a part of the password.
            raise ConfigError(
                "cloud.redis_url (or REDIS_URL) is not a Redis URL: write redis://, rediss:// or "
                "unix://, and percent-encode / ? # @ : in a password"
            ) from None
        self._client = redis.Redis.from_pool(pool)
        self._put_if_newer = self._client.register_script(PUT_IF_NEWER)
        self._discard = self._client.register_script(_DISCARD)
        self._ttl_ms = max(1, round(ttl_s * 1000))
        self._window_ms = round(reorder_window_s * 1000)
        self._deadline_s = deadline_s
        self._running: set[asyncio.Future[Any]] = set()
        self._reads: Batcher[str, bytes | RedisError | None] = Batcher(self._read, most=MOST_READS)

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        blob = await self._reads.value(key(user, bundle_id))
        if isinstance(blob, RedisError):
            raise _unavailable(blob)
        return blob

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        written = self._put_if_newer([key(user, bundle_id)], [blob, self._ttl_ms, self._window_ms])
        return bool(await self._command(written))

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        # The blob may have come from a connection that is out of step: keep none of them.
        await self._command(self._client.connection_pool.disconnect(inuse_connections=False))
        await self._command(self._discard([key(user, bundle_id)], [blob]))

    async def ping(self) -> None:
        await self._command(self._client.ping())

    async def aclose(self) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=self._deadline_s)
        await self._client.aclose()
        await self._client.connection_pool.aclose()

    async def _read(self, keys: Sequence[str]) -> list[bytes | RedisError | None]:
        if len(keys) == 1:
            blobs = [await self._command(self._client.get(keys[0]))]
        else:
            # Not MGET: keys of several users may lie on several nodes behind one address.
            pipeline = self._client.pipeline(transaction=False)
            for one in keys:
                pipeline.get(one)
            # An error is the answer to its own key alone.
            blobs = await self._command(pipeline.execute(raise_on_error=False))
        # decode_responses is off, so what is not bytes is an answer to some other command.
        kept = (bytes, RedisError, type(None))
        return [b if isinstance(b, kept) else str(b).encode() for b in blobs]

    async def _command(self, command: Awaitable[T]) -> T:
        """Run a command to its own end, whatever happens to the caller."""
        task = asyncio.ensure_future(command)
        self._running.add(task)
        task.add_done_callback(self._finished)
        done, _ = await asyncio.wait({task}, timeout=self._deadline_s)
        if not done:
            raise StoreUnavailable(f"Redis did not answer within {self._deadline_s:g} s")
        try:
            return task.result()
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error

    def _finished(self, task: asyncio.Future[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even if the caller has gone


def _unavailable(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"Redis does not answer: {error}; check that it runs")


def key(user: str, bundle_id: str) -> str:
    """Redis key of a snapshot; the braces keep one user's keys on one node of a cluster."""
    return f"scalrec:{{{user}}}:snapshot:{bundle_id}"
