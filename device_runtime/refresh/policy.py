"""RefreshPolicy: when a device asks the cloud for a new snapshot; the rules that count and time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshState:
    """What a device knows when it decides, right after a request.

    Attributes:
        requests_since_attempt: requests answered since the last attempt to refresh, whether it
            succeeded or not; since the device started if there was none.
        has_snapshot: whether any snapshot is held.
        in_flight: whether a refresh is under way.
        delta, omega, drift, r: of the last answer (-1 and NaN without a snapshot).
        age_s: seconds since the cloud computed the snapshot, by the device's clock; NaN without.
        since_attempt_s: seconds since the last attempt; infinite if there was none.
        inconsistency: of the last answer (see ``device_runtime.state.cues``), in positions; NaN
            without a snapshot, and where the policy does not compare rankings.
        inconsistency_top: the same over the first ``SHOWN`` of either ranking.
        alpha: of the last answer: 1 - r; NaN without a snapshot.
        cues: [8] float32 raw, in the order of ``device_runtime.state.cues.CUES``; None without a
            snapshot or history.
    """

    requests_since_attempt: int
    has_snapshot: bool
    in_flight: bool
    delta: int
    omega: float
    drift: float
    r: float
    age_s: float = math.nan
    since_attempt_s: float = math.inf
    inconsistency: float = math.nan
    inconsistency_top: float = math.nan
    alpha: float = math.nan
    cues: NDArray[np.float32] | None = field(default=None, compare=False)


class RefreshPolicy(Protocol):
    """Decides from the device's own state alone; may remember, so no two devices share one."""

    @property
    def compares_rankings(self) -> bool:
        """Whether the inconsistencies of ``RefreshState`` are worth computing at every request."""
        ...

    def wants_refresh(self, state: RefreshState) -> bool:
        """Whether to ask the cloud now; to be called once after each request."""
        ...


@dataclass(frozen=True, slots=True)
class EveryK:
    """The paper's intermittent cloud: one refresh every k requests.

    Counted from the last *attempt*, so that an outage does not turn into a refresh per request;
    a device that holds no snapshot asks at every request.
    """

    compares_rankings: ClassVar[bool] = False
    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    def wants_refresh(self, state: RefreshState) -> bool:
        if state.in_flight:
            return False
        return not state.has_snapshot or state.requests_since_attempt >= self.k


@dataclass(frozen=True, slots=True)
class Always:
    """A refresh at every request, unless one is under way: the cloud in near-real time."""

    compares_rankings: ClassVar[bool] = False

    def wants_refresh(self, state: RefreshState) -> bool:
        return not state.in_flight


@dataclass(frozen=True, slots=True)
class Never:
    """Structure alone, or whatever snapshot the cache held at the start."""

    compares_rankings: ClassVar[bool] = False

    def wants_refresh(self, state: RefreshState) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class TimeToLive:
    """A refresh once the snapshot is ``ttl_s`` seconds old, by the device's clock.

    After an attempt the next one waits as long again: neither an outage nor a cloud that hands
    out an old stand-in turns into a refresh per request. A device that holds no snapshot asks at
    every request.
    """

    compares_rankings: ClassVar[bool] = False
    ttl_s: float

    def __post_init__(self) -> None:
        if not self.ttl_s > 0:
            raise ValueError(f"ttl_s must be above 0, not {self.ttl_s}")

    def wants_refresh(self, state: RefreshState) -> bool:
        if state.in_flight:
            return False
        return not state.has_snapshot or min(state.age_s, state.since_attempt_s) >= self.ttl_s


class GainModel(Protocol):
    """Read-only: all devices of a process share one."""

    def expected_gain(self, state: RefreshState) -> float:
        """NDCG@10 expected of a fresh snapshot minus that of the held one, for this request.

        NaN where the state has no cues: without a snapshot or without history.
        """
        ...
