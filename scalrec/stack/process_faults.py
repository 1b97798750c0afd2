"""ProcessFaults: what a scenario does to the children of a local stack themselves."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
from pydantic import SecretStr
from redis.asyncio import Redis

from launch.ports import LOOPBACK
from launch.process import ChildProcess
from launch.redis_server import RedisServer
from loadtest.faults.fault import Fault
from loadtest.proxy.client import FaultProxy
from scalrec.stack.cloud_stack import READY_TIMEOUT_S
from shared.errors import LaunchError

SYNC_TIMEOUT_S = 20.0
_POLL_S = 0.05


class ProcessFaults:
    """Stops, kills, freezes and replaces the children; an actuator.

    A failover is done as managed services do it: a replica is synchronised and promoted, the old
    primary becomes its replica, so that clients with open connections are told READONLY, and after
    the fault's time the address leads to the new primary.

    Args:
        redis: started.
        services: cloud processes by their own addresses.
        proxy: its proxy ``redis`` is the address that is moved.
        logs: folder for the replica.

    Attributes:
        away: parts that a fault has taken away, until it has brought them back.
    """

    def __init__(
        self,
        redis: RedisServer,
        services: Mapping[str, ChildProcess],
        proxy: FaultProxy,
        logs: Path,
    ) -> None:
        self._primary = redis
        self._password = urlsplit(redis.url.get_secret_value()).password or ""
        self._spare = RedisServer(logs / "redis-replica", password=SecretStr(self._password))
        self._proxy = proxy
        self._urls = list(services)
        self._services = list(services.values())
        self._rolling: dict[Fault, asyncio.Task[None]] = {}
        self._silent: dict[Fault, list[asyncio.StreamWriter]] = {}
        self.away: set[str] = set()

    @property
    def children(self) -> dict[str, ChildProcess]:
        """Redis and the cloud's replicas, by part, as they are now."""
        store = self._primary.process
        clouds = {f"cloud {n}": service for n, service in enumerate(self._services)}
        return clouds if store is None else clouds | {"store": store}

    async def lasting_keys(self) -> list[str]:
        """Keys of the present primary without a time to live."""
        return await self._primary.lasting_keys()

    def can(self, fault: Fault) -> bool:
        return fault.target in ("redis", "cloud")

    async def begin(self, fault: Fault) -> None:
        self.away |= self._parts(fault)
        match fault.kind:
            case "restart":
                await self._primary.stop()
            case "failover":
                await self._promote()
            case "rolling":
                self._rolling[fault] = asyncio.create_task(self._replace_all(fault))
            case "silent":
                await self._connect(fault)
            case "kill":
                pids = self._services[fault.replica].pids
                os.kill(pids[0], signal.SIGKILL)  # the guard sees to its descendants
            case _:
                _signal_all(self._services[fault.replica].pids, signal.SIGSTOP)

    async def end(self, fault: Fault) -> None:
        match fault.kind:
            case "restart":
                await self._primary.start()
            case "failover":
                await self._proxy.lead("redis", f"{LOOPBACK}:{self._primary.port}")
            case "rolling":
                await self._rolling.pop(fault)
            case "silent":
                for writer in self._silent.pop(fault):
                    writer.close()
            case "kill":
                await self._services[fault.replica].stop()
                await self._start(fault.replica)
            case _:
                _signal_all(self._services[fault.replica].pids, signal.SIGCONT)
        self.away -= self._parts(fault)

    def _parts(self, fault: Fault) -> set[str]:
        if fault.target == "redis":
            return {"store"}
        if fault.kind == "rolling":
            return {f"cloud {n}" for n in range(len(self._services))}
        return {f"cloud {fault.replica}"}

    async def aclose(self) -> None:
        """Stop the replica, and whatever is still under way."""
        for task in self._rolling.values():
            task.cancel()
        await asyncio.gather(*self._rolling.values(), return_exceptions=True)
        for writer in [writer for held in self._silent.values() for writer in held]:
            writer.close()
        # After a failover the two have changed places; both stop twice without harm.
        await self._spare.stop()
        await self._primary.stop()

    async def _start(self, replica: int) -> None:
        service, url = self._services[replica], self._urls[replica]
        service.start()
        # It is back once it answers, which takes seconds.
        await service.wait_ready(lambda: _answers(url), READY_TIMEOUT_S)

    async def _replace_all(self, fault: Fault) -> None:
        turn_s = fault.for_s / len(self._services)
        for replica, service in enumerate(self._services):
            started = asyncio.get_running_loop().time()
            await service.stop()
            await self._start(replica)
            spent_s = asyncio.get_running_loop().time() - started
            await asyncio.sleep(max(0.0, turn_s - spent_s))

    async def _connect(self, fault: Fault) -> None:
        address = urlsplit(self._urls[fault.replica])
        self._silent[fault] = []
        for _ in range(fault.connections):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            self._silent[fault].append(writer)

    async def _promote(self) -> None:
        old, new = self._primary, self._spare
        if new.process is None or not new.process.running:
            await new.start()
        async with _client(old) as was, _client(new) as redis:
            for one in (was, redis):
                await one.config_set("masterauth", self._password)
            await redis.replicaof(LOOPBACK, old.port)
            await self._synchronised(redis)
            await redis.replicaof("NO", "ONE")
            await was.replicaof(LOOPBACK, new.port)
        self._primary, self._spare = new, old

    async def _synchronised(self, redis: Redis) -> None:
        for _ in range(int(SYNC_TIMEOUT_S / _POLL_S)):
            if (await redis.info("replication")).get("master_link_status") == "up":
                return
            await asyncio.sleep(_POLL_S)
        raise LaunchError(f"the Redis replica was not in step within {SYNC_TIMEOUT_S:g} s")


def _client(server: RedisServer) -> Redis:
    return Redis.from_url(server.url.get_secret_value(), socket_timeout=SYNC_TIMEOUT_S)


async def _answers(url: str) -> str | None:
    """None once the service is alive; whether its Redis and embedder are is another fault's."""
    async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
        try:
            (await client.get(f"{url}/healthz")).raise_for_status()
        except httpx.HTTPError as error:
            return str(error) or repr(error)
    return None


def _signal_all(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, what)
