"""Limits: computations at once and waiting, and requests per device; the rest is refused."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager

from shared.errors import ScalrecError

MAX_TRACKED_DEVICES = 100_000  # about 30 MB of buckets


class Overloaded(ScalrecError):
    """All slots and waiting places are taken; try again after a while."""


class Limiter:
    """Bounded concurrency with a bounded queue, first come first served.

    Args:
        max_in_flight: holders of a slot at once.
        max_waiting: callers that may wait for one; more are refused.
        max_wait_s: longest wait for a slot; longer is refused too.
    """

    def __init__(self, max_in_flight: int, max_waiting: int, max_wait_s: float):
        self._slots = asyncio.Semaphore(max_in_flight)
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self.in_flight = 0
        self.waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the block. Raises Overloaded instead of waiting without bound."""
        await self._acquire()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self._slots.release()

    async def _acquire(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()  # does not suspend
            return
        if self.waiting >= self._max_waiting:
            raise Overloaded(
                f"{self.in_flight} snapshots are being computed and {self.waiting} wait; "
                "try again later"
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Overloaded(
                f"no snapshot computation could start within {self._max_wait_s:g} s; "
                "try again later"
            ) from error
        finally:
            self.waiting -= 1


class RateLimited(ScalrecError):
    """One device asks too often.

    Args:
        retry_after_s: seconds until its next request would be taken.
    """

    def __init__(self, retry_after_s: float):
        super().__init__("this device asks too often; wait as long as Retry-After says")
        self.retry_after_s = retry_after_s


class DeviceRates:
    """A token bucket per device: ``burst`` requests at once, ``per_minute`` in the long run.

    Only the devices seen last are remembered, so memory is bounded. One that is forgotten starts
    with a full bucket; to use that, a caller would need tokens of as many other users. Each
    replica of the service counts for itself.

    Args:
        per_minute: 0 sets no limit.
        burst: size of a bucket.
        clock: seconds that never go back.
        max_devices: buckets remembered.
    """

    def __init__(
        self,
        per_minute: float,
        burst: int,
        clock: Callable[[], float],
        max_devices: int = MAX_TRACKED_DEVICES,
    ):
        self._per_s = per_minute / 60.0
        self._burst = float(burst)
        self._clock = clock
        self._max_devices = max_devices
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # level, when

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, device: Hashable) -> None:
        """Count one request of ``device``. Raises RateLimited when its bucket is empty."""
        if self._per_s == 0.0:
            return
        now = self._clock()
        level, then = self._buckets.pop(device, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._per_s)
        taken = level >= 1.0
        self._buckets[device] = (level - 1.0 if taken else level, now)
        if len(self._buckets) > self._max_devices:
            self._buckets.popitem(last=False)
        if not taken:
            raise RateLimited((1.0 - level) / self._per_s)
