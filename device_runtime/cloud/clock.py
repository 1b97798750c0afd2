"""Clock: where a device's time comes from; a replay injects its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of seconds that never depends on the network."""

    def time(self) -> float:
        """Seconds since a fixed moment."""
        ...


class UnixClock:
    """Seconds since 1970: ages of snapshots stay true across restarts."""

    def time(self) -> float:
        return time.time()


class MonotonicClock:
    """Seconds that never jump, for waiting and for breakers."""

    def time(self) -> float:
        return time.monotonic()
