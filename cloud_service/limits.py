"""Limiter: so many at once, so many waiting, the rest refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import ScalrecError


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
