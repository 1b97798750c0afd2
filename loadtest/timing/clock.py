"""What time it is in a replay, on the wall or on a virtual loop."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

VIRTUAL_EPOCH = 1_700_000_000.0  # any date will do, if it is always the same


class ReplayClock(Protocol):
    """Where replay code reads the time. It waits with ``asyncio.sleep`` on the running loop."""

    def time(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    def unix(self) -> float:
        """Seconds since 1970, which snapshots are dated by."""


class WallClock:
    """Real seconds since its making."""

    def __init__(self) -> None:
        self._origin = time.monotonic()

    def time(self) -> float:
        return time.monotonic() - self._origin

    def unix(self) -> float:
        return time.time()


class VirtualClock:
    """Seconds of the running VirtualLoop: they pass only where the code waits.

    Its dates count from VIRTUAL_EPOCH, so that they too are the same in every run.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def time(self) -> float:
        return self._loop.time()

    def unix(self) -> float:
        return VIRTUAL_EPOCH + self._loop.time()


class UnixTime:
    """A replay clock's dates, for parts that know a clock by ``time()`` alone."""

    def __init__(self, clock: ReplayClock) -> None:
        self._clock = clock

    def time(self) -> float:
        return self._clock.unix()


class ReplayTime:
    """Seconds from the start of the replayed window, which a warm-up of unknown length precedes.

    Schedules, outages and records count from the window's start; the clock below keeps running
    steadily, since breakers and timeouts must not see a jump.
    """

    def __init__(self, clock: ReplayClock) -> None:
        self.clock = clock
        self._zero: float | None = None

    @property
    def started(self) -> bool:
        """Whether the window has begun."""
        return self._zero is not None

    def start(self) -> None:
        """The window begins now."""
        self._zero = self.clock.time()

    def now(self) -> float:
        """Seconds into the window; 0 until it begins, so that a warm-up meets the cloud of t=0."""
        return 0.0 if self._zero is None else self.clock.time() - self._zero

    def of(self, clock_time: float) -> float:
        """A reading of the clock as seconds from the window's start, negative in the warm-up.

        Raises RuntimeError before the window began.
        """
        if self._zero is None:
            raise RuntimeError("the replayed window has not begun")
        return clock_time - self._zero

    async def wait_until(self, seconds: float) -> None:
        """Sleep until ``seconds`` into the window; yields to other tasks even when it is late."""
        await asyncio.sleep(max(0.0, seconds - self.now()))
