"""The cloud's own parts with a script's faults on them, for runs inside one process.

They stand before a real store and embedder and have the same methods (see the protocols of
``cloud_service``, which this package does not import).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from loadtest.faults.fault import Fault, Target
from loadtest.faults.script import FaultScript
from shared.bundle import EmbedderIdentity
from shared.errors import EmbedderMismatch, EmbedderUnavailable, StoreUnavailable

HANG_S = 30.0  # longer than any deadline of the cloud


class Store(Protocol):
    """What ``cloud_service.store.snapshot_store.SnapshotStore`` asks for."""

    async def get(self, user: str, bundle_id: str) -> bytes | None: ...
    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool: ...
    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None: ...
    async def ping(self) -> None: ...
    async def aclose(self) -> None: ...


class TextEmbedder(Protocol):
    """What ``cloud_service.embedding.base.Embedder`` asks for."""

    @property
    def identity(self) -> EmbedderIdentity: ...
    async def ready(self) -> None: ...
    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]: ...
    async def aclose(self) -> None: ...


class _FaultyLink:
    """Faults of one link, as a part behind it feels them."""

    def __init__(
        self, script: FaultScript, now: Callable[[], float], link: Target, rng: np.random.Generator
    ) -> None:
        self._script, self._now, self._link, self._rng = script, now, link, rng
        self._second, self._luck = -1, 1.0  # as in FaultyTransport

    async def passes(self, error: type[Exception]) -> None:
        """Return when the part can be reached; raises ``error`` if it cannot."""
        for fault in self._script.active(self._link, self._now()):
            await self._suffer(fault, error)

    async def _suffer(self, fault: Fault, error: type[Exception]) -> None:
        if fault.kind == "slow":
            if fault.share < 1 and float(self._rng.random()) >= fault.share:
                return
            jitter = float(self._rng.uniform(-1.0, 1.0)) * fault.jitter_s
            await asyncio.sleep(fault.latency_s + jitter)
        elif fault.kind == "errors" and float(self._rng.random()) < fault.share:
            raise error(f"{fault.words} (scripted fault)")
        elif fault.kind == "resets":
            if (second := int(self._now())) != self._second:
                self._second, self._luck = second, float(self._rng.random())
            if self._luck < fault.share:
                raise error(f"{fault.words} (scripted fault)")
        elif fault.kind == "cut":
            if fault.failure == "hang":
                await asyncio.sleep(HANG_S)
            raise error(f"{fault.words} (scripted fault)")


class FaultyStore:
    """A snapshot store behind ``redis-link`` that is restarted, and emptied, by the script.

    Args:
        inner: the real one.
        empty: makes ``inner`` lose everything it holds.
        ttl_s: life of what is written, which a store in memory does not know.
    """

    def __init__(
        self,
        inner: Store,
        script: FaultScript,
        now: Callable[[], float],
        rng: np.random.Generator,
        empty: Callable[[], None],
        ttl_s: float = math.inf,
    ) -> None:
        self._inner = inner
        self._gate = _FaultyLink(script, now, "redis-link", rng)
        of_redis = script.of("redis")
        self._restarts = [fault for fault in of_redis if fault.kind == "restart"]
        self._failovers = [fault for fault in of_redis if fault.kind == "failover"]
        self._ttl_s = ttl_s
        self._written: dict[tuple[str, str], float] = {}
        self._now = now
        self._empty = empty

    async def get(self, user: str, bundle_id: str) -> bytes | None:
        await self._reach()
        if self._now() - self._written.get((user, bundle_id), math.inf) >= self._ttl_s:
            return None
        return await self._inner.get(user, bundle_id)

    async def put_if_newer(self, user: str, bundle_id: str, blob: bytes) -> bool:
        await self._reach(writing=True)
        written = await self._inner.put_if_newer(user, bundle_id, blob)
        if written:
            self._written[user, bundle_id] = self._now()
        return written

    async def discard(self, user: str, bundle_id: str, blob: bytes) -> None:
        await self._reach(writing=True)
        await self._inner.discard(user, bundle_id, blob)

    async def ping(self) -> None:
        await self._reach()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _reach(self, *, writing: bool = False) -> None:
        await self._gate.passes(StoreUnavailable)
        now = self._now()
        if writing and any(fault.active(now) for fault in self._failovers):
            raise StoreUnavailable("READONLY: this Redis is a replica now (scripted fault)")
        while self._restarts and self._restarts[0].at_s <= now:
            if self._restarts[0].active(now):
                raise StoreUnavailable("Redis is being restarted (scripted fault)")
            self._empty()
            del self._restarts[0]


class FaultyEmbedder:
    """An embedder behind ``embedder-link`` that stalls, or has no numbers for some texts."""

    def __init__(
        self,
        inner: TextEmbedder,
        script: FaultScript,
        now: Callable[[], float],
        rng: np.random.Generator,
    ) -> None:
        self._inner = inner
        self._script, self._now = script, now
        self._gate = _FaultyLink(script, now, "embedder-link", rng)

    @property
    def identity(self) -> EmbedderIdentity:
        return self._inner.identity

    async def ready(self) -> None:
        await self._gate.passes(EmbedderUnavailable)
        await self._inner.ready()

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        await self._gate.passes(EmbedderUnavailable)
        for fault in self._script.active("embedder", self._now()):
            if fault.kind == "stall":
                await asyncio.sleep(HANG_S)
                raise EmbedderUnavailable(f"{fault.words} (scripted fault)")
            if any(_chance(text) < fault.share for text in texts):
                raise EmbedderMismatch(f"{fault.words}: not finite (scripted fault)")
        return await self._inner.embed(texts)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _chance(text: str) -> float:
    """In [0, 1), the same for a text whenever it comes."""
    return int.from_bytes(blake2b(text.encode(), digest_size=6).digest()) / float(1 << 48)
