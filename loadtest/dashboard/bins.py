"""Bin: everything the live view knows about one stretch of the replay, as sums that add up.

A bin of the whole fleet is the sum of the bins of its processes, and the figures of a window are
those of the sum of its bins. Counting one request or refresh takes constant time.
"""

from __future__ import annotations

import math

import msgspec

from loadtest.dashboard.histogram import LogHistogram
from loadtest.records.outcomes import UNSTORED
from loadtest.records.recorder import RefreshRecord, RequestRecord
from shared.metrics import Rank

# Age of the snapshot in events, as in reports: label and last delta.
AGES = (("0", 0), ("1-2", 2), ("3-5", 5), ("6-10", 10), ("11+", math.inf))
NO_SNAPSHOT = "none"
CUTOFF = 10
_GAINS = (0.0, *(1.0 / math.log2(place + 1.0) for place in range(1, CUTOFF + 1)))

Counts = dict[str, int]


class NdcgSums(msgspec.Struct, forbid_unknown_fields=True):
    """Sums of NDCG@10 over the same ``requests``.

    ``calibrated`` stays 0 where calibration was off, since no such answer was made then.
    ``uncalibrated`` takes the cached snapshot as it is; ``alone`` is a device without any cloud.
    """

    requests: int = 0
    calibrated: float = 0.0
    uncalibrated: float = 0.0
    alone: float = 0.0

    def merge(self, other: NdcgSums, sign: int = 1) -> None:
        self.requests += sign * other.requests
        self.calibrated += sign * other.calibrated
        self.uncalibrated += sign * other.uncalibrated
        self.alone += sign * other.alone


class Bin(msgspec.Struct, forbid_unknown_fields=True):
    """Sums over one stretch of replayed time.

    Attributes:
        requests, from_snapshot: answers, and those that used a snapshot.
        corrected, face_value: scores of requests with calibration on, and off.
        up, down: how often the cloud was found there, and away.
        breakers: requests by the state of the device's breaker.
        latency_ms, service_ms: of requests, from their scheduled and their actual start.
        age_s, age_events: of the snapshots answers were made from.
        refreshes: by outcome, ``unstored`` among them. calls: HTTP attempts behind them.
            held_back: refreshes that never were sent, because the breaker was open. refresh_ms: of
            all refreshes that asked the cloud.
    """

    requests: int = 0
    from_snapshot: int = 0
    corrected: NdcgSums = msgspec.field(default_factory=NdcgSums)
    face_value: NdcgSums = msgspec.field(default_factory=NdcgSums)
    up: int = 0
    down: int = 0
    breakers: Counts = {}
    latency_ms: LogHistogram = msgspec.field(default_factory=LogHistogram)
    service_ms: LogHistogram = msgspec.field(default_factory=LogHistogram)
    age_s: LogHistogram = msgspec.field(default_factory=LogHistogram)
    age_events: Counts = {}
    refreshes: Counts = {}
    calls: int = 0
    held_back: int = 0
    refresh_ms: LogHistogram = msgspec.field(default_factory=LogHistogram)

    def request(self, record: RequestRecord, *, calibrating: bool) -> None:
        """Count one answered request."""
        self.requests += 1
        self.from_snapshot += record.source == "snapshot"
        scores = self.corrected if calibrating else self.face_value
        scores.requests += 1
        if calibrating:
            scores.calibrated += ndcg_of(Rank(record.rank, record.tied))
        scores.uncalibrated += ndcg_of(Rank(record.rank_uncalibrated, record.tied_uncalibrated))
        scores.alone += ndcg_of(Rank(record.rank_alone, record.tied_alone))
        self.see_cloud(record.cloud_up)
        _count(self.breakers, record.breaker)
        self.latency_ms.add(record.latency_scheduled_ms)
        self.service_ms.add(record.latency_service_ms)
        self.age_s.add(record.snapshot_age_s)
        _count(self.age_events, age_label(record.delta))

    def refresh(self, record: RefreshRecord) -> None:
        """Count one refresh that ended."""
        # Reasons of failures are the report's; that a store takes nothing is for whoever watches.
        _count(self.refreshes, UNSTORED if record.reason == UNSTORED else record.outcome)
        self.calls += record.attempts
        self.held_back += record.attempts == 0
        if record.attempts:
            self.refresh_ms.add(record.latency_ms)

    def see_cloud(self, up: bool) -> None:
        """Note that the cloud was found there or away."""
        if up:
            self.up += 1
        else:
            self.down += 1

    def merge(self, other: Bin, sign: int = 1) -> None:
        """Add (or with ``sign`` -1 take away) another bin."""
        self.requests += sign * other.requests
        self.from_snapshot += sign * other.from_snapshot
        self.up += sign * other.up
        self.down += sign * other.down
        self.calls += sign * other.calls
        self.held_back += sign * other.held_back
        self.corrected.merge(other.corrected, sign)
        self.face_value.merge(other.face_value, sign)
        self.latency_ms.merge(other.latency_ms, sign)
        self.service_ms.merge(other.service_ms, sign)
        self.age_s.merge(other.age_s, sign)
        self.refresh_ms.merge(other.refresh_ms, sign)
        for mine, theirs in (
            (self.breakers, other.breakers),
            (self.age_events, other.age_events),
            (self.refreshes, other.refreshes),
        ):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + sign * count

    def copy(self) -> Bin:
        """The same sums, which later counting does not change."""
        same = Bin()
        same.merge(self)
        return same


def ndcg_of(rank: Rank) -> float:
    """NDCG@10 of one relevant item, over the orders of its ties (see shared.metrics.ndcg)."""
    if rank.tied <= 1 or math.isinf(rank.expected):
        return 1.0 / math.log2(rank.expected + 1.0) if rank.expected <= CUTOFF else 0.0
    before = rank.expected - (rank.tied + 1) / 2.0
    first, last = (int(min(edge, CUTOFF)) for edge in (before, before + rank.tied))
    return sum(_GAINS[first + 1 : last + 1]) / rank.tied


def age_label(delta: int) -> str:
    """The class of a snapshot's age in events; negative: there was none."""
    if delta < 0:
        return NO_SNAPSHOT
    return next(label for label, last in AGES if delta <= last)


def bin_width_s(window_s: float, most: int = 240) -> float:
    """Whole seconds per bin: one, or as many as keep a window within ``most`` bins."""
    return float(max(1, math.ceil(window_s / most)))


def _count(counts: Counts, name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
