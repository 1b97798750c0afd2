"""FaultyTransport: a way to the cloud on which a script's faults happen, without a network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from device_runtime.cloud.transport import CloudTransport, TransportError, TransportResponse
from loadtest.faults.fault import Fault, Target
from loadtest.faults.script import FaultScript

RETRY_AFTER = {"retry-after": "1"}
DNS_BLOCK_S = 10.0  # what a cut-off container's resolver takes to give up
BEYOND_S = 1.0  # a hang outlasts the timeout that was asked for


class FaultyTransport:
    """Another transport, with what the script does to some targets.

    A fault concerns requests under way as well: the script is asked when a request leaves, when
    it arrives and when its answer is back.

    Args:
        inner: the way on; closed with this one.
        script, now: the faults, and seconds of the replay.
        targets: those that happen here: all under the virtual clock, ``device-link`` alone where
            the rest is done to real processes.
        replica, replicas: which cloud process this way leads to, of how many.
        rng: which requests fail, and how late answers are.
        block_names: whether a name look-up blocks by occupying a thread, as a real one does, or
            by waiting on the loop's clock.
    """

    def __init__(
        self,
        inner: CloudTransport,
        script: FaultScript,
        now: Callable[[], float],
        *,
        targets: tuple[Target, ...],
        replica: int,
        replicas: int = 1,
        rng: np.random.Generator,
        block_names: Literal["thread", "loop"] = "loop",
    ) -> None:
        self._inner = inner
        self._script = script
        self._now = now
        self._targets = targets
        self._replica, self._replicas = replica, replicas
        self._rng = rng
        self._block_names = block_names
        self._second = -1  # that connections' luck was last drawn for
        self._luck = 1.0

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        timeout_s: float,
    ) -> TransportResponse:
        fails, lateness = float(self._rng.random()), float(self._rng.uniform(-1.0, 1.0))
        for fault in self._active():
            if fault.kind == "slow" and (fault.share == 1 or self._rng.random() < fault.share):
                await asyncio.sleep(fault.latency_s + lateness * fault.jitter_s)
        await self._pass(timeout_s, leaving=True)
        for fault in self._active():
            if fault.kind == "errors" and fails < fault.share:
                if fault.answer == "503":
                    return TransportResponse(503, RETRY_AFTER)
                raise TransportError("connection reset (scripted fault)")
            if fault.kind == "resets" and self._connection_luck() < fault.share:
                raise TransportError("connection reset (scripted fault)")
        response = await self._inner.request(
            method, path, headers=headers, content=content, timeout_s=timeout_s
        )
        await self._pass(timeout_s)
        return response

    async def rebuild(self) -> None:
        await self._inner.rebuild()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _active(self) -> list[Fault]:
        now = self._now()
        faults = [f for target in self._targets for f in self._script.active(target, now)]
        return [f for f in faults if f.target != "cloud" or self._is_gone(f, now)]

    def _is_gone(self, fault: Fault, now: float) -> bool:
        span = fault.gone(self._replica, self._replicas)
        return span is not None and span[0] <= now < span[1]

    def _connection_luck(self) -> float:
        """Drawn anew every second, for this way's connections together."""
        if (second := int(self._now())) != self._second:
            self._second, self._luck = second, float(self._rng.random())
        return self._luck

    async def _pass(self, timeout_s: float, *, leaving: bool = False) -> None:
        for fault in self._active():
            if fault.kind == "rolling" and leaving:
                # A process that ends in order answers what it has begun and takes nothing new.
                raise TransportError("connection refused: the cloud process is being replaced")
            if fault.kind == "freeze":
                # A stopped process answers what it was asked once it goes on.
                await asyncio.sleep(fault.until_s - self._now())
            elif fault.kind == "kill":
                raise TransportError("connection reset: the cloud process is gone (scripted fault)")
            elif fault.kind == "cut":
                await self._cut(fault, timeout_s)

    async def _cut(self, fault: Fault, timeout_s: float) -> None:
        if fault.failure == "hang":
            await asyncio.sleep(timeout_s + BEYOND_S)
        elif fault.failure == "dns":
            blocked_s = max(DNS_BLOCK_S, timeout_s + BEYOND_S)
            if self._block_names == "thread":
                await asyncio.to_thread(time.sleep, blocked_s)
            else:
                await asyncio.sleep(blocked_s)
        raise TransportError(f"cannot connect: {fault.words} (scripted fault)")
