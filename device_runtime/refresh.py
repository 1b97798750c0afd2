"""RefreshPolicy: when a device asks the cloud for a new snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shared.settings import DeviceSettings


@dataclass(frozen=True, slots=True)
class RefreshState:
    """What a device knows when it decides, right after a request.

    Attributes:
        requests_since_attempt: requests answered since the last attempt to refresh, whether it
            succeeded or not; since the device started if there was none.
        has_snapshot: whether any snapshot is held.
        in_flight: whether a refresh is under way.
        delta, omega, drift, r: of the last answer (-1 and NaN without a snapshot).
    """

    requests_since_attempt: int
    has_snapshot: bool
    in_flight: bool
    delta: int
    omega: float
    drift: float
    r: float


class RefreshPolicy(Protocol):
    """Decides from the device's own state alone."""

    def wants_refresh(self, state: RefreshState) -> bool:
        """Whether to ask the cloud now."""
        ...


@dataclass(frozen=True, slots=True)
class EveryK:
    """The paper's intermittent cloud: one refresh every k requests.

    Counted from the last *attempt*, so that an outage does not turn into a refresh per request;
    a device that holds no snapshot asks at every request.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, not {self.k}")

    def wants_refresh(self, state: RefreshState) -> bool:
        if state.in_flight:
            return False
        return not state.has_snapshot or state.requests_since_attempt >= self.k


@dataclass(frozen=True, slots=True)
class Never:
    """Structure alone, or whatever snapshot the cache held at the start."""

    def wants_refresh(self, state: RefreshState) -> bool:
        return False


def make_policy(settings: DeviceSettings) -> RefreshPolicy:
    """The policy that ``device.policy`` and ``device.k`` name."""
    return Never() if settings.policy == "never" else EveryK(settings.k)
