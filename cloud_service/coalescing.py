"""Coalescer: callers that want the same thing at the same time share one computation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    callers: int = 0


class Coalescer(Generic[K, V]):
    """Single flight per key. Nothing is remembered once a computation has ended.

    A caller that is cancelled leaves the others alone; when the last one leaves, the computation
    is cancelled as nobody wants it any more. An error reaches every caller.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def has(self, key: K) -> bool:
        """Whether a computation for ``key`` is under way."""
        return key in self._flights

    async def run(self, key: K, compute: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result of ``compute()``, or of the one already under way for ``key``."""
        flight = self._flights.get(key)
        if flight is None:
            flight = _Flight(asyncio.ensure_future(compute()))
            self._flights[key] = flight
            flight.task.add_done_callback(lambda _: self._landed(key, flight))
        flight.callers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.callers -= 1
            if not flight.callers and not flight.task.done():
                # Out of the table at once: a new caller must not join a dying computation.
                self._remove(key, flight)
                flight.task.cancel()

    def _landed(self, key: K, flight: _Flight[V]) -> None:
        self._remove(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # seen, even if every caller has gone

    def _remove(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
