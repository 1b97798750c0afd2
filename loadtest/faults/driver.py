"""FaultDriver: does a script's faults to real processes and links, at their times."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from loadtest.faults.fault import Fault, Target
from loadtest.faults.script import FaultScript
from loadtest.proxy.client import FaultProxy
from loadtest.proxy.hops import FaultProxies
from loadtest.proxy.toxics import Toxic
from loadtest.timing.clock import ReplayTime

# Names of the proxies before each part of a stack that somebody else runs.
PROXIES: dict[Target, tuple[str, ...]] = {
    "cloud-link": ("cloud",),
    "redis-link": ("redis",),
    "embedder-link": ("embedder",),
}
# Where processes cannot be stopped, the way to them is: what devices see is the same.
STAND_INS: dict[Target, Target] = {
    "cloud": "cloud-link", "redis": "redis-link", "embedder": "embedder-link",
}  # fmt: skip
HTTP_LINKS: tuple[Target, ...] = ("cloud-link", "embedder-link")
REDRAW_S = 1.0


class Actuator(Protocol):
    """Begins and ends faults of some targets."""

    def can(self, fault: Fault) -> bool:
        """Whether it knows how to do this one."""

    async def begin(self, fault: Fault) -> None: ...
    async def end(self, fault: Fault) -> None: ...


class LinkFaults:
    """Faults of links, by the control API of a fault proxy.

    ``errors`` fails a share of HTTP requests, drawn for each. Redis' connections carry none: there
    a share of connections is reset, drawn anew every second, as ``resets`` does everywhere. Faults
    of processes (see STAND_INS) are done to the way to them: a killed replica resets its share of
    connections, a frozen one passes nothing on until it goes on; a restarted Redis is cut off but
    loses no data; an embedder that stalls answers what only reads, and texts without numbers are
    requests that it answers 500, as servers do that find them.

    Args:
        proxy: the control API, or those of all hops.
        names: the proxies before each target.
        replicas: cloud processes behind the one proxy, for faults of one of them.
    """

    def __init__(
        self,
        proxy: FaultProxy | FaultProxies,
        names: Mapping[Target, tuple[str, ...]] = PROXIES,
        *,
        replicas: int = 1,
    ) -> None:
        self._proxy = proxy
        self._names = names
        self._replicas = replicas
        self._redrawing: dict[Fault, asyncio.Task[None]] = {}

    def can(self, fault: Fault) -> bool:
        return fault.kind not in ("failover", "rolling", "silent")

    async def begin(self, fault: Fault) -> None:
        for name in self._proxies(fault):
            if self._closes(fault):
                await self._proxy.enable(name, False)
            else:
                await self._proxy.add(name, self._toxic(fault))
        if self._toxic(fault).type == "reset_peer" and not self._closes(fault):
            self._redrawing[fault] = asyncio.create_task(self._redraw(fault))

    async def end(self, fault: Fault) -> None:
        if redrawing := self._redrawing.pop(fault, None):
            redrawing.cancel()
            await asyncio.gather(redrawing, return_exceptions=True)
        for name in self._proxies(fault):
            if self._closes(fault):
                await self._proxy.enable(name, True)
            else:
                await self._proxy.remove(name, self._toxic(fault).name)

    def _proxies(self, fault: Fault) -> tuple[str, ...]:
        return self._names[STAND_INS.get(fault.target, fault.target)]

    def _closes(self, fault: Fault) -> bool:
        cut = fault.kind == "cut" and fault.failure == "refuse"
        return cut or fault.kind == "restart" or (fault.kind == "kill" and self._replicas == 1)

    def _toxic(self, fault: Fault) -> Toxic:
        name = f"{fault.kind}-{fault.at_s:g}"
        match fault.kind:
            case "slow":
                late = {"latency": fault.latency_s, "jitter": fault.jitter_s}
                times = {what: round(seconds * 1e3) for what, seconds in late.items()}
                if fault.share == 1:
                    return Toxic(name=name, type="latency", attributes=times)
                return Toxic(name=name, type="http_delay", toxicity=fault.share, attributes=times)
            case "errors" if fault.target in HTTP_LINKS:
                status = {"status": 503 if fault.answer == "503" else 0}
                return Toxic(name=name, type="http_fail", toxicity=fault.share, attributes=status)
            case "errors" | "resets":
                return Toxic(name=name, type="reset_peer", toxicity=fault.share)
            case "stall":
                return Toxic(name=name, type="http_hang", attributes={"posts": 1})
            case "nan":
                broken = {"status": 500, "posts": 1}
                return Toxic(name=name, type="http_fail", toxicity=fault.share, attributes=broken)
            case "kill":
                return Toxic(name=name, type="reset_peer", toxicity=1.0 / self._replicas)
            case "freeze":
                # What was held back goes on when it ends, as a stopped process does.
                return Toxic(name=name, type="bandwidth", attributes={"rate": 0})
            case _:
                return Toxic(name=name, type="timeout", attributes={"timeout": 0})

    async def _redraw(self, fault: Fault) -> None:
        while True:
            await asyncio.sleep(REDRAW_S)
            for name in self._proxies(fault):
                # Not to be cut between the two, or the end would find nothing to remove.
                await asyncio.shield(self._again(name, self._toxic(fault)))

    async def _again(self, name: str, toxic: Toxic) -> None:
        await self._proxy.remove(name, toxic.name)
        await self._proxy.add(name, toxic)


class FaultDriver:
    """Runs the script on the replay's clock; an async context manager.

    Leaving it ends what is still on. An actuator's error is raised when it is left.

    Args:
        actuators: by target; faults of other targets are somebody else's.
    """

    def __init__(
        self, script: FaultScript, time: ReplayTime, actuators: Mapping[Target, Actuator]
    ) -> None:
        self._faults = [fault for fault in script.faults if fault.target in actuators]
        self._time = time
        self._actuators = actuators
        self._on: list[Fault] = []
        self._lasted: dict[Fault, Fault] = {}
        self._running: asyncio.Task[None] | None = None

    def happened(self, script: FaultScript) -> FaultScript:
        """``script`` with the times faults really lasted: a process needs some to come back."""
        return FaultScript(self._lasted.get(fault, fault) for fault in script.faults)

    async def __aenter__(self) -> FaultDriver:
        # What the script begins with is there before the first request.
        for fault in self._faults:
            if fault.at_s == 0:
                await self._begin(fault)
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        outcome: BaseException | None = None
        if self._running is not None:
            self._running.cancel()
            (outcome,) = await asyncio.gather(self._running, return_exceptions=True)
        for fault in list(self._on):
            await self._end(fault)
        if isinstance(outcome, Exception) and error is None:
            raise outcome

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for fault in self._faults:
                group.create_task(self._one(fault))

    async def _one(self, fault: Fault) -> None:
        if fault not in self._on:
            await self._time.wait_until(fault.at_s)
            await self._begin(fault)
        await self._time.wait_until(fault.until_s)
        await self._end(fault)

    async def _begin(self, fault: Fault) -> None:
        await self._actuators[fault.target].begin(fault)
        self._on.append(fault)

    async def _end(self, fault: Fault) -> None:
        self._on.remove(fault)
        await self._actuators[fault.target].end(fault)
        lasted = max(fault.for_s, self._time.now() - fault.at_s)
        self._lasted[fault] = fault.model_copy(update={"for_s": lasted})
