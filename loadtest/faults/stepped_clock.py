"""SteppedClock: what a device takes for the time of day while its clock is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from loadtest.faults.script import FaultScript


class DateClock(Protocol):
    """Seconds since 1970."""

    def time(self) -> float: ...


class SteppedClock:
    """Another clock, off by what the script's ``device-clock`` faults say, for as long as they do.

    It jumps when a fault begins and jumps back when it ends, as a clock does that somebody sets
    and the network's time sets right again.

    Args:
        inner: the right time.
        script, now: the faults, and seconds of the replay.
    """

    def __init__(self, inner: DateClock, script: FaultScript, now: Callable[[], float]) -> None:
        self._inner = inner
        self._script = script
        self._now = now

    def time(self) -> float:
        wrong = self._script.active("device-clock", self._now())
        return self._inner.time() + sum(fault.step_s for fault in wrong)
