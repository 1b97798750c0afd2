"""GatedTransport: the way to the cloud, with outages and modelled latency on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from device_runtime.cloud.transport import CloudTransport, TransportError, TransportResponse
from loadtest.timing.availability import Availability

LATENCY_SIGMA = 0.5  # of the logarithm: the 95th percentile is twice the mean


class ModelledLatency:
    """Seeded log-normal round trips.

    Args:
        mean_s: mean seconds of one round trip; 0 for none.
        rng: drawn from once per request, in the order the requests are made.
    """

    def __init__(self, mean_s: float, rng: np.random.Generator) -> None:
        self._mean_s = mean_s
        self._rng = rng

    def draw(self) -> float:
        """Seconds of the next round trip."""
        if self._mean_s == 0.0:
            return 0.0
        mu = math.log(self._mean_s) - LATENCY_SIGMA**2 / 2.0
        return float(self._rng.lognormal(mu, LATENCY_SIGMA))


class GatedTransport:
    """Another transport behind a gate that is shut while the cloud is away.

    A gone cloud is gone for requests under way too: the gate is looked at when a request leaves,
    when it arrives and when its answer is back.

    Args:
        inner: the real way to the cloud; closed with this one.
        availability: when the gate is open.
        now: seconds of the replay.
        latency: added to every round trip, half on each way; None on the wall clock, where the
            real network is slow enough by itself.
        failure: ``refuse`` raises TransportError at once, as a closed port does; ``hang`` never
            answers, as a network that drops packets, so that the caller's deadline must hold.
    """

    def __init__(
        self,
        inner: CloudTransport,
        availability: Availability,
        now: Callable[[], float],
        *,
        latency: ModelledLatency | None = None,
        failure: Literal["refuse", "hang"] = "refuse",
    ) -> None:
        self._inner = inner
        self._availability = availability
        self._now = now
        self._latency = latency
        self._failure = failure

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        timeout_s: float,
    ) -> TransportResponse:
        one_way = 0.0 if self._latency is None else self._latency.draw() / 2.0
        await self._pass(timeout_s)
        await self._travel(one_way, timeout_s)
        response = await self._inner.request(
            method, path, headers=headers, content=content, timeout_s=timeout_s
        )
        await self._travel(one_way, timeout_s)
        return response

    async def rebuild(self) -> None:
        await self._inner.rebuild()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _travel(self, seconds: float, timeout_s: float) -> None:
        if seconds > 0:
            await asyncio.sleep(seconds)
        await self._pass(timeout_s)

    async def _pass(self, timeout_s: float) -> None:
        if self._availability.is_up(self._now()):
            return
        if self._failure == "hang":
            # Beyond the timeout: whoever asked must give up by itself.
            await asyncio.sleep(timeout_s + 1.0)
        raise TransportError("connection refused: the cloud is away (simulated outage)")
