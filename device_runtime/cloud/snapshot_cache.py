"""SnapshotCache: the last good snapshot of each user, kept by the device."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from hashlib import blake2b
from pathlib import Path
from typing import Protocol

from device_runtime.state.cached_snapshot import (
    CachedSnapshot,
    CacheKey,
    check_entry,
    decode_entry,
    encode_entry,
)
from shared.errors import SnapshotError
from shared.files import write_whole
from shared.snapshot import MAX_BLOB_BYTES

logger = logging.getLogger(__name__)

_MAX_FILE_BYTES = MAX_BLOB_BYTES + (1 << 16)


class SnapshotCache(Protocol):
    """Keeps the newest snapshot per user. Never raises: a device answers without it too."""

    def load(self, key: CacheKey) -> CachedSnapshot | None:
        """The user's snapshot if there is a usable one; anything unusable is removed."""
        ...

    async def store(self, key: CacheKey, cached: CachedSnapshot) -> None:
        """Keep ``cached`` unless a newer one of the same user and bundle is there."""
        ...


class MemorySnapshotCache:
    """Snapshots of all devices of this process, gone with it."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], CachedSnapshot] = {}

    def load(self, key: CacheKey) -> CachedSnapshot | None:
        return self._entries.get((key.user, key.bundle_id))

    async def store(self, key: CacheKey, cached: CachedSnapshot) -> None:
        self.put(key, cached)

    def put(self, key: CacheKey, cached: CachedSnapshot) -> None:
        """``store`` without an event loop."""
        held = self.load(key)
        if held is None or held.snapshot.version < cached.snapshot.version:
            self._entries[key.user, key.bundle_id] = cached

    def discard(self, key: CacheKey, *, up_to: int) -> None:
        """Forget the user's snapshot unless it is newer than version ``up_to``."""
        held = self.load(key)
        if held is not None and held.snapshot.version <= up_to:
            del self._entries[key.user, key.bundle_id]


class DiskSnapshotCache:
    """Snapshots in a folder; survives restarts. On a full or read-only disk it uses memory.

    Args:
        folder: created when missing, for this account alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unwritten = MemorySnapshotCache()
        self._lock = threading.Lock()
        self._failing = False

    def load(self, key: CacheKey) -> CachedSnapshot | None:
        kept = [c for c in (self._unwritten.load(key), self._read(key)) if c is not None]
        return max(kept, key=lambda cached: cached.snapshot.version, default=None)

    async def store(self, key: CacheKey, cached: CachedSnapshot) -> None:
        """As the protocol says; a thread does the writing, so that no request waits for the disk.

        Cancelling leaves the old entry or the new one, either of them whole.
        """
        if await asyncio.to_thread(self._write, key, cached):
            self._unwritten.discard(key, up_to=cached.snapshot.version)
        else:
            await self._unwritten.store(key, cached)

    def path(self, user: str) -> Path:
        """File of one user's snapshot, named by a hash of the user."""
        return self._folder / f"{blake2b(user.encode(), digest_size=16).hexdigest()}.snapshot"

    def _read(self, key: CacheKey) -> CachedSnapshot | None:
        path = self.path(key.user)
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(f"cannot read {path}: {error}")
            return None
        try:
            return check_entry(decode_entry(data), key)
        except SnapshotError as error:
            logger.warning("removed the cached snapshot %s: %s", path, error)
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            return None

    def _write(self, key: CacheKey, cached: CachedSnapshot) -> bool:
        """Replace the user's file in one step; False when the disk does not allow it."""
        path = self.path(key.user)
        # One writer at a time: a slow older write must not land on top of a newer one.
        with self._lock:
            held = self._read(key)
            if held is not None and held.snapshot.version >= cached.snapshot.version:
                return True
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for leftover in self._folder.glob(f"{path.name}.*.partial"):
                    leftover.unlink(missing_ok=True)
                write_whole(path, encode_entry(cached), mode=0o600)
            except OSError as error:
                self._warn(f"cannot write into {self._folder}: {error}")
                return False
            self._failing = False
            return True

    def _warn(self, what: str) -> None:
        """Once per spell of failures, not once per refresh."""
        if not self._failing:
            self._failing = True
            logger.warning("snapshot cache: %s; snapshots are kept in memory only", what)
