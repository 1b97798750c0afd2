"""Device: one user's recommender. Answers from local state alone; refreshes in the background."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from device_runtime.abstract.digest import Digest
from device_runtime.abstract.sanitise import identifiers, without_identifiers
from device_runtime.abstract.writer import REMEMBERED, AbstractWriter, TemplateAbstract
from device_runtime.cloud.clock import Clock, MonotonicClock, UnixClock
from device_runtime.cloud.link import CloudLink, RefreshFailed, RefreshResult
from device_runtime.cloud.snapshot_cache import MemorySnapshotCache, SnapshotCache
from device_runtime.models import DeviceModels
from device_runtime.ranking.candidates import Pool, build_pool
from device_runtime.ranking.collaborative import rank_collaboratively
from device_runtime.ranking.encoded import encode
from device_runtime.ranking.fusion import top_k
from device_runtime.ranking.own_terms import OwnState
from device_runtime.ranking.response import Diagnostics, Response
from device_runtime.ranking.semantic import Ranking, rank_locally, rank_with_snapshot
from device_runtime.ranking.transitions import Transitions
from device_runtime.refresh.policy import Never, RefreshPolicy, RefreshState
from device_runtime.state.cached_snapshot import CachedSnapshot, CacheKey, check_entry
from device_runtime.state.cues import SHOWN, mean_move, reordered
from device_runtime.state.history import History, RequestContext
from device_runtime.state.item_vectors import ItemPage
from device_runtime.state.lapse import SessionCount, lapse_since
from shared.bundle import CollaborationSpec
from shared.errors import SnapshotError, SnapshotRejected
from shared.snapshot import decode

logger = logging.getLogger(__name__)

Items = NDArray[np.int32]
Floats = NDArray[np.float32]
_ATTEMPTS_REMEMBERED = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A snapshot in force; replaced as a whole, so that no request ever sees a mixture.

    Attributes:
        cached: the snapshot and e_str(tau).
        received_s: steady clock when it came.
        age_s: seconds since its computation at that moment.
    """

    cached: CachedSnapshot
    received_s: float
    age_s: float


class Device:
    """One user's device.

    Args:
        user: the user's id; names the snapshot. No abstract is made of it; it is cut from queries.
        models: shared by all devices of the process.
        writer: of abstracts; shared too.
        cache: where snapshots are kept; memory by default.
        policy: when to refresh, this device's own instance; never by default.
        clock: dates the snapshot that a restarted device finds in its cache; Unix time by default.
        steady: of all ages and waits from then on, so that setting the clock ages nothing; by
            default the ``clock`` that was given, else the machine's own that never jumps.
        calibrate: False takes the stale snapshot at face value.
        collaboration: ranks a snapshot's candidates by collaborative inference (LSC4Rec), adapting
            to the user's latest events where it has a rate for that; ``calibrate`` then changes
            nothing. None ranks by both channels (SCaLRec).
        digest: of no event yet and this device's own, for the text student to read; a bundle
            without one has no use for it.

    Attributes:
        policy, calibrate: as above; may be changed between requests.

    Raises:
        ValueError: the bundle has a text student, and no digest was given.
    """

    def __init__(
        self,
        user: str,
        models: DeviceModels,
        writer: AbstractWriter,
        *,
        cache: SnapshotCache | None = None,
        policy: RefreshPolicy | None = None,
        clock: Clock | None = None,
        steady: Clock | None = None,
        calibrate: bool = True,
        collaboration: CollaborationSpec | None = None,
        digest: Digest | None = None,
    ) -> None:
        self.user = user
        self.unknown_items = 0
        self._own_name = identifiers([user])
        self._models = models
        self._writer = writer
        self._cache = cache if cache is not None else MemorySnapshotCache()
        self.policy = policy or Never()
        self._steady = steady or clock or MonotonicClock()
        self.calibrate = calibrate
        self._transitions = None if collaboration is None else Transitions(collaboration)
        self._history = History(models.profile.window, models.profile.retain)
        self._own = OwnState(models, digest)
        self._sessions = SessionCount()
        self._vectors = models.item_vectors()
        self._key = CacheKey(
            user=user,
            bundle_id=models.bundle_id,
            dim=models.dim,
            n_items=models.n_items,
            vectors=models.manifest.vectors_in_snapshot,
        )
        self._seen: Items | None = None
        self._pool: Pool | None = None
        self._pool_seen: Items | None = None
        self._attempted: dict[int, Floats | None] = {}
        self._requests_since_attempt = 0
        self._attempted_s = -math.inf
        self._refreshing = False
        self._last = Diagnostics()
        self._inconsistency = self._inconsistency_top = math.nan
        self._cues: Floats | None = None
        self._encoded_at: tuple[int, RequestContext, Floats | None] | None = None
        self._held: _Held | None = None
        cached = self._cache.load(self._key)
        if cached is not None:
            date = (clock or UnixClock()).time()
            age_s = max(0.0, date - cached.snapshot.created_ms / 1000.0)
            self._hold(_Held(cached, self._steady.time(), age_s))

    @property
    def step(self) -> int:
        """t: events of the user known to this device."""
        return self._history.total

    @property
    def snapshot(self) -> CachedSnapshot | None:
        """The snapshot in force."""
        return None if self._held is None else self._held.cached

    def observe(
        self, item: int, time: float | None, hour_of_week: float, page: ItemPage | None = None
    ) -> None:
        """Take in the user's newest event.

        Args:
            item: item index; one that the bundle does not hold counts as a step and is otherwise
                ignored (see ``unknown_items``).
            time: Unix seconds, or None.
            hour_of_week: local hour in [0, 168).
            page: of the item. A device without an item table learns its vector from there; an item
                without one stays in the history, but can be neither encoded nor ranked.
        """
        self._sessions.observe(time)
        known = 0 <= item < self._models.n_items
        if self._transitions is not None:
            self._transitions.observe(item if known else None)
        if not known:
            self._own.observe(None, hour_of_week)
            self._history.skip()
            self.unknown_items += 1
            return
        # Both must know the same moment to the last bit: an abstract is told from either.
        self._own.observe(item, self._history.append(item, time, hour_of_week))
        if self._vectors.meet(item, page):
            self._pool = None
        forgets = self._models.profile.retain == "window"
        if self._seen is not None and (forgets or not _contains(self._seen, item)):
            self._seen = None

    def request(self, context: RequestContext, k: int = 10) -> Response:
        """Recommend ``k`` items now, from local state alone. Never awaits, never fails.

        Args:
            context: the request's moment (and query, which only matters to a refresh).
            k: items wanted; fewer come back only if the device knows of no more.
        """
        held, models = self._held, self._models
        own = self._own.terms(context)
        encoded = encode(models, self._vectors, self._history, context, own)
        self._encoded_at = (self.step, context, None if encoded is None else encoded.e_str)
        seen = self._seen_items()
        pool = self._current_pool(held, seen)
        if held is None:
            ranking = rank_locally(models, self._vectors, pool, encoded, seen, k=k)
            diagnostics = Diagnostics()
        else:
            snapshot = held.cached.snapshot
            lapse = lapse_since(
                # A restarted device may know fewer events than its snapshot's abstract did.
                max(0, self.step - snapshot.tau),
                self._history,
                self._sessions,
                context,
                has_time=models.manifest.has_time,
            )
            known = (models, self._vectors, pool, encoded, seen)
            if self._transitions is None:
                ranking = rank_with_snapshot(*known, lapse=lapse, k=k, calibrate=self.calibrate)
            else:
                ranking = rank_collaboratively(
                    *known, lapse=lapse, k=k, transitions=self._transitions
                )
            diagnostics = Diagnostics(
                delta=lapse.delta,
                drift=ranking.drift,
                omega=ranking.omega,
                r=ranking.r,
                alpha=ranking.alpha,
                de_norm=ranking.de_norm,
                trust=ranking.trust,
                snapshot_version=snapshot.version,
                snapshot_tau=snapshot.tau,
                snapshot_age_s=self._age_s(held),
            )
            if self.policy.compares_rankings:
                order = reordered(snapshot.items, ranking.items, ranking.structural)
                self._inconsistency = mean_move(order)
                self._inconsistency_top = mean_move(order, SHOWN)
        if self._transitions is not None:
            self._transitions.asked(None if encoded is None else encoded.e_str)
        self._last, self._cues = diagnostics, ranking.cues
        self._requests_since_attempt += 1
        return Response(
            step=self.step,
            items=ranking.items[top_k(ranking.scores, k)],
            source="local" if held is None else "snapshot",
            candidates=ranking.items,
            scores=ranking.scores,
            uncalibrated=ranking.uncalibrated,
            structural=ranking.structural,
            diagnostics=diagnostics,
            encoded=encoded,
        )

    def without_cloud(self, response: Response, k: int = 10) -> Ranking:
        """What this device would have ranked had it never held a snapshot: for comparison.

        Candidates and scores are then its own. No state changes.

        Args:
            response: to its latest request, before it observes anything else.
            k: items wanted.
        """
        models, seen = self._models, self._seen_items()
        pool = build_pool(models, self._vectors, None, seen)
        return rank_locally(models, self._vectors, pool, response.encoded, seen, k=k)

    def wants_refresh(self) -> bool:
        """What the policy says after the last request; to be asked once after each."""
        held, last = self._held, self._last
        return self.policy.wants_refresh(
            RefreshState(
                requests_since_attempt=self._requests_since_attempt,
                has_snapshot=held is not None,
                in_flight=self._refreshing,
                delta=last.delta,
                omega=last.omega,
                drift=last.drift,
                r=last.r,
                age_s=math.nan if held is None else self._age_s(held),
                since_attempt_s=max(0.0, self._steady.time() - self._attempted_s),
                inconsistency=self._inconsistency,
                inconsistency_top=self._inconsistency_top,
                alpha=last.alpha,
                cues=self._cues,
            )
        )

    async def refresh(self, link: CloudLink, context: RequestContext) -> RefreshResult | None:
        """Ask the cloud for a snapshot of the present state and swap it in.

        Requests are answered as before meanwhile. A snapshot that comes back after further events
        keeps the step it was asked at, so its delta is true.

        Returns:
            How it went; failures are results too, never exceptions. None if a refresh is under way.

        Raises:
            asyncio.CancelledError: at any await; the device holds the old snapshot or the new one
                and can refresh again at once.
        """
        if self._refreshing:
            return None
        self._refreshing = True
        self._requests_since_attempt = 0
        self._attempted_s = self._steady.time()
        try:
            query = without_identifiers(context.query, self._own_name)
            told = replace(context, query=query)
            abstract = self._abstract(told)
            self._remember_attempt(context)
            try:
                result = await link.refresh(
                    self.user,
                    abstract,
                    self.step,
                    self._models.bundle_id,
                    self._models.item_tokens(self._history.items),
                )
            except RefreshFailed as failure:
                return failure.result
            return await self._accept(result)
        finally:
            self._refreshing = False

    def _abstract(self, context: RequestContext) -> str:
        """From the digest that the text student reads, where it holds all that is retained."""
        digest, writer = self._own.digest, self._writer
        if (
            digest is not None
            and len(digest) == len(self._history) <= REMEMBERED
            and isinstance(writer, TemplateAbstract)
            and writer.words is digest.words
        ):
            return writer.tell(digest, context)
        return writer.write(self._history.events, context)

    def _remember_attempt(self, context: RequestContext) -> None:
        """Keep e_str of this step: should its snapshot arrive, now or by a later attempt, drift
        is measured from here. It cannot be computed afterwards."""
        last = self._encoded_at
        if last is not None and last[0] == self.step and last[1] == context:
            e_str = last[2]  # the request that wanted this refresh has just made it
        else:
            encoded = encode(self._models, self._vectors, self._history, context)
            e_str = None if encoded is None else encoded.e_str
        self._attempted.pop(self.step, None)
        self._attempted[self.step] = e_str
        while len(self._attempted) > _ATTEMPTS_REMEMBERED:
            del self._attempted[next(iter(self._attempted))]

    async def _accept(self, result: RefreshResult) -> RefreshResult:
        """Verify what came back, swap it in by one assignment, then keep it."""
        held = self._held
        try:
            snapshot = decode(result.blob or b"")
            check_entry(CachedSnapshot(snapshot, None), self._key)
            if held is not None and snapshot.version <= held.cached.snapshot.version:
                if result.stale or snapshot.version == held.cached.snapshot.version:
                    return result  # the one we hold, or an older stand-in for it
                raise SnapshotRejected("the cloud sent a snapshot older than the one held")
        except SnapshotError as error:
            logger.warning("snapshot rejected: %s", error)
            return replace(
                result, blob=None, outcome="rejected", detail=str(error), reason="snapshot"
            )
        if held is not None and snapshot.tau == held.cached.snapshot.tau:
            e_str = self._attempted.get(snapshot.tau, held.cached.e_str)
        else:
            e_str = self._attempted.get(snapshot.tau)
        cached = CachedSnapshot(snapshot, e_str)
        self._hold(_Held(cached, self._steady.time(), result.age_s))
        await self._cache.store(self._key, cached)
        return result

    def _hold(self, held: _Held) -> None:
        """Put a snapshot and the vectors it brought into force; no request comes in between."""
        self._held = held
        self._encoded_at = None  # with these vectors a window may be another
        self._vectors.offer(held.cached.snapshot)

    def _age_s(self, held: _Held) -> float:
        return held.age_s + max(0.0, self._steady.time() - held.received_s)

    def _seen_items(self) -> Items:
        if self._seen is None:
            self._seen = self._history.distinct
        return self._seen

    def _current_pool(self, held: _Held | None, seen: Items) -> Pool:
        cached = None if held is None else held.cached
        if self._pool is None or self._pool.cached is not cached or self._pool_seen is not seen:
            self._pool = build_pool(
                self._models,
                self._vectors,
                cached,
                seen,
                # Collaborative inference orders the cloud's list, and what the user had.
                starters=self._transitions is None,
            )
            self._pool_seen = seen
        return self._pool


def _contains(ascending: Items, item: int) -> bool:
    place = int(np.searchsorted(ascending, item))
    return place < len(ascending) and int(ascending[place]) == item
