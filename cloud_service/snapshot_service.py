"""SnapshotService: the refresh flow, from an abstract to a stored snapshot, and its fallbacks."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cloud_service.candidate_choice import CandidateChoice
from cloud_service.coalescing import Coalescer
from cloud_service.generation.base import Generator
from cloud_service.limits import Limiter
from cloud_service.retrieval.base import CandidateIndex
from cloud_service.store.snapshot_store import SnapshotStore
from cloud_service.telemetry.telemetry import Telemetry
from cloud_service.user_model import UserModel
from shared.bundle import Bundle
from shared.errors import EmbedderError, SnapshotCorrupt, SnapshotError, StoreUnavailable
from shared.item_files import packed_items
from shared.packed import PackedVectors
from shared.snapshot import Snapshot, decode, encode, verify

Outcome = Literal["fresh", "newer", "stale", "cached"]


@dataclass(frozen=True)
class Served:
    """A snapshot on its way out.

    Attributes:
        snapshot, blob: the same thing as value and as bytes.
        outcome: ``fresh`` computed now; ``newer`` another request had stored a newer one;
            ``stale`` stands in for a failed computation; ``cached`` was asked for as it lies.
        stored: the store holds it.
    """

    snapshot: Snapshot
    blob: bytes
    outcome: Outcome
    stored: bool = True

    @property
    def stale(self) -> bool:
        return self.outcome == "stale"


class SnapshotService:
    """Computes snapshots, keeps the newest per user, and falls back on the kept one.

    Args:
        bundle: what the snapshots are made with.
        user_model: abstract -> e_sem.
        index: e_sem -> candidates.
        store: where the newest snapshot of each user lies.
        limiter: bounds the computations under way.
        deadline_s: for one computation, waiting for its turn included.
        telemetry: where failures and outcomes are counted.
        candidates: N of SCaLRec eq. 7.
        generator: writes candidates where a device tells its items; None retrieves them always.
        now: Unix seconds; a replay under a virtual clock brings its own.
    """

    def __init__(
        self,
        bundle: Bundle,
        user_model: UserModel,
        index: CandidateIndex,
        store: SnapshotStore,
        limiter: Limiter,
        telemetry: Telemetry,
        *,
        candidates: int,
        deadline_s: float,
        generator: Generator | None = None,
        now: Callable[[], float] = time.time,
    ):
        self._bundle = bundle
        self._packed = _packed_items(bundle)
        self._user_model = user_model
        self._choice = CandidateChoice(index, generator, telemetry, n=candidates)
        self._store = store
        self._limiter = limiter
        self._metrics = telemetry.metrics
        self._log = telemetry.log
        self._deadline_s = deadline_s
        self._now = now
        self._flights: Coalescer[tuple[str, int, bytes], Served] = Coalescer()

    async def refresh(
        self, user: str, abstract: str, step: int, history: NDArray[np.int64] | None = None
    ) -> Served:
        """A snapshot of ``user`` at ``step``, computed now unless the same one is under way.

        Falls back on the stored snapshot when the embedder fails (stale-if-error, RFC 5861), and
        answers without storing when the store fails.

        Args:
            history: [L] latest items of the user, oldest first, if the device told them.

        Raises:
            EmbedderUnavailable, EmbedderMismatch: the embedder failed and nothing is stored.
            Overloaded: too many computations are under way.
        """
        told = b"" if history is None else history.tobytes()
        flight = (user, step, hashlib.sha256(abstract.encode() + b"\0" + told).digest())
        if self._flights.has(flight):
            self._metrics.coalesced.inc()
        return self._counted(
            await self._flights.run(flight, lambda: self._refresh(user, abstract, step, history))
        )

    async def cached(self, user: str) -> Served | None:
        """The stored snapshot, or None. Raises StoreUnavailable."""
        found = await self._stored(user)
        return None if found is None else self._counted(Served(*found, outcome="cached"))

    def age_s(self, snapshot: Snapshot) -> float:
        """Seconds since it was computed."""
        return max(0.0, self._now() - snapshot.created_ms / 1000)

    async def _refresh(
        self, user: str, abstract: str, step: int, history: NDArray[np.int64] | None
    ) -> Served:
        try:
            snapshot = await self._compute(user, abstract, step, history)
        except EmbedderError as error:
            self._metrics.embedder_failures.labels(type(error).__name__).inc()
            self._log.warning("embedder failed", reason=str(error))
            try:
                last = await self._stored(user)
            except StoreUnavailable:
                last = None
            if last is None:
                raise
            return Served(*last, outcome="stale")
        return await self._keep(snapshot)

    async def _compute(
        self, user: str, abstract: str, step: int, history: NDArray[np.int64] | None
    ) -> Snapshot:
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._deadline_s
        async with self._limiter.slot():
            # What waiting took is gone: the device that asked has a deadline of its own.
            remaining_s = max(0.0, deadline - clock())
            with self._metrics.embed_seconds.time():
                e_sem = await self._user_model.e_sem([abstract], deadline_s=remaining_s)  # [1, d]
            items, scores = await self._choice.choose(
                e_sem[0], history, deadline_s=max(0.0, deadline - clock())
            )
        return Snapshot(
            user=user,
            tau=step,
            created_ms=int(self._now() * 1000),
            bundle_id=self._bundle.id,
            e_sem=e_sem[0],
            items=items,
            scores=scores,
            vectors=None if self._packed is None else self._packed.take(items),
        )

    async def _keep(self, snapshot: Snapshot) -> Served:
        blob = encode(snapshot)
        try:
            # Twice at most: an unusable blob in the way is discarded by the reading between.
            for _ in range(2):
                if await self._put(snapshot.user, blob):
                    return Served(snapshot, blob, "fresh")
                newer = await self._stored(snapshot.user)
                if newer is not None:
                    return Served(*newer, outcome="newer")
        except StoreUnavailable:
            pass  # counted where it happened
        self._metrics.not_stored.inc()
        return Served(snapshot, blob, "fresh", stored=False)

    async def _put(self, user: str, blob: bytes) -> bool:
        try:
            return await self._store.put_if_newer(user, self._bundle.id, blob)
        except StoreUnavailable as error:
            self._store_failed("put", error)
            raise

    async def _stored(self, user: str) -> tuple[Snapshot, bytes] | None:
        """The stored snapshot, verified; one that cannot be used is discarded and is as none."""
        manifest = self._bundle.manifest
        try:
            blob = b""  # of what is no blob at all
            try:
                found = await self._store.get(user, self._bundle.id)
                if found is None:
                    return None
                blob = found
                snapshot = verify(
                    decode(blob),
                    user=user,
                    bundle_id=self._bundle.id,
                    dim=manifest.dim,
                    n_items=manifest.n_items,
                    vectors=manifest.vectors_in_snapshot,
                )
            except SnapshotError as error:
                kind = "corrupt" if isinstance(error, SnapshotCorrupt) else "foreign"
                self._metrics.rejected_blobs.labels(kind).inc()
                self._log.error("stored snapshot rejected", kind=kind, reason=str(error))
                await self._store.discard(user, self._bundle.id, blob)
                return None
        except StoreUnavailable as error:
            self._store_failed("get", error)
            raise
        return snapshot, blob

    def _store_failed(self, operation: str, error: StoreUnavailable) -> None:
        self._metrics.store_failures.labels(operation, error.condition).inc()
        self._log.warning(
            "snapshot store failed",
            operation=operation,
            condition=error.condition,
            reason=str(error),
        )

    def _counted(self, served: Served) -> Served:
        self._metrics.snapshots.labels(served.outcome).inc()
        return served


def _packed_items(bundle: Bundle) -> PackedVectors | None:
    """Rows of all items for devices without an item table; None for the others."""
    return packed_items(bundle) if bundle.manifest.vectors_in_snapshot else None
