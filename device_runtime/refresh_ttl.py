"""TimeToLive: a snapshot is good for so many seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from device_runtime.refresh import RefreshState


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
