"""The embedder and the store with a span around each call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cloud_service.embedding.base import Embedder
from cloud_service.store.snapshot_store import SnapshotStore
from shared.bundle import EmbedderIdentity
from shared.tracing import Tracing


class TracedEmbedder:
    """An Embedder whose calls are spans; the wrapped one stays its owner's to close."""

    def __init__(self, inner: Embedder, tracing: Tracing):
        self._inner = inner
        self._tracing = tracing

    @property
    def identity(self) -> EmbedderIdentity:
        return self._inner.identity

    async def ready(self) -> None:
        await self._inner.ready()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        with self._tracing.span("embed", kind="client", attributes={"scalrec.texts": len(texts)}):
            return await self._inner.embed(texts)

    async def aclose(self) -> None:
        await self._inner.aclose()


class TracedStore:
    """A SnapshotStore whose calls are spans; the wrapped one stays its owner's to close."""

    def __init__(self, inner: SnapshotStore, tracing: Tracing):
        self._inner = inner
        self._tracing = tracing

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        with self._tracing.span("store.get", kind="client") as span:
            blob = await self._inner.get(user, bundle_id)
            span.set("scalrec.found", blob is not None)
            return blob

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        with self._tracing.span("store.put", kind="client") as span:
            written = await self._inner.put_if_newer(user, bundle_id, blob)
            span.set("scalrec.written", written)
            return written

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        with self._tracing.span("store.discard", kind="client"):
            await self._inner.discard(user, bundle_id, blob)

    async def ping(self) -> None:
        await self._inner.ping()

    async def aclose(self) -> None:
        await self._inner.aclose()
