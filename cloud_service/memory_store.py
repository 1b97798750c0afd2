"""MemorySnapshotStore: the store without Redis, for one process and for the virtual clock."""

from __future__ import annotations

from cloud_service.snapshot_order import REORDER_WINDOW_S, replaces


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
