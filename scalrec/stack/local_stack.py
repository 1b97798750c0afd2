"""Redis, cloud processes and the fault proxies before them, as children, for one scenario."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from launch.ports import LOOPBACK, claim_port
from launch.process import ChildProcess
from launch.redis_server import RedisServer
from loadtest.faults.driver import Actuator, LinkFaults
from loadtest.faults.fault import Fault, Target
from loadtest.proxy.client import FaultProxy
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import with_keys
from scalrec.stack.cloud_stack import READY_TIMEOUT_S, cloud_process, probe_ready
from scalrec.stack.embedder_server import ServedEmbedder
from shared.errors import ConfigError
from shared.progress import Progress


@dataclass(frozen=True)
class LocalStack:
    """Attributes: urls, one per replica, lead through the proxies; settings hold the keys."""

    urls: tuple[str, ...]
    settings: Settings
    actuators: Mapping[Target, Actuator]
    redis: RedisServer


class ProcessFaults:
    """Stops, kills and freezes the children themselves."""

    def __init__(self, redis: RedisServer, services: Mapping[str, ChildProcess]) -> None:
        self._redis = redis
        self._urls = list(services)
        self._services = list(services.values())

    async def begin(self, fault: Fault) -> None:
        if fault.kind == "restart":
            await self._redis.stop()
            return
        pids = self._services[fault.replica].pids
        if fault.kind == "kill":
            os.kill(pids[0], signal.SIGKILL)  # the guard sees to its descendants
        else:
            _signal_all(pids, signal.SIGSTOP)

    async def end(self, fault: Fault) -> None:
        service, url = self._services[fault.replica], self._urls[fault.replica]
        if fault.kind == "restart":
            await self._redis.start()
        elif fault.kind == "kill":
            await service.stop()
            service.start()
            # It is back once it answers, which takes seconds.
            await service.wait_ready(lambda: _answers(url), READY_TIMEOUT_S)
        else:
            _signal_all(service.pids, signal.SIGCONT)


@asynccontextmanager
async def local_stack(
    settings: Settings,
    bundle: Path,
    embedder: ServedEmbedder,
    *,
    replicas: int,
    logs: Path,
    progress: Progress,
) -> AsyncIterator[LocalStack]:
    """Start everything, wait until every replica is ready, stop everything on leaving.

    Raises:
        LaunchError: a part did not become ready; carries the tail of its log.
    """
    settings = with_keys(settings)
    async with AsyncExitStack() as stack:
        with progress.task("Redis, cloud processes and fault proxies") as task:
            proxy = await _fault_proxy(stack, logs)
            redis = RedisServer(logs / "redis")
            stack.push_async_callback(redis.stop)
            redis_url = await _redis_through(proxy, (await redis.start()).get_secret_value())
            served = await _embedder_through(proxy, embedder)
            direct: dict[str, ChildProcess] = {}
            urls = []
            for n in range(replicas):
                port, admin = claim_port(0, LOOPBACK), claim_port(0, LOOPBACK)
                service = cloud_process(
                    settings, served, SecretStr(redis_url), bundle, port, admin,
                    name=f"cloud service {n}", log=logs / f"cloud-{n}.log",
                )  # fmt: skip
                stack.push_async_callback(service.stop)
                service.start()
                spec = await proxy.create(
                    f"cloud-{n}", upstream=f"{LOOPBACK}:{port}", listen=f"{LOOPBACK}:0"
                )
                direct[f"http://{LOOPBACK}:{port}"] = service
                urls.append(f"http://{spec.listen}")
            for service, url in zip(direct.values(), urls, strict=True):
                await service.wait_ready(
                    lambda url=url: probe_ready(url),  # type: ignore[misc]
                    READY_TIMEOUT_S,
                    on_wait=lambda s: task.advance(0, f"starting, {s:.0f} s"),
                )
        names: dict[Target, tuple[str, ...]] = {
            "cloud-link": tuple(f"cloud-{n}" for n in range(replicas)),
            "redis-link": ("redis",),
            "embedder-link": ("embedder",),
        }
        if served is embedder:
            del names["embedder-link"]  # it runs inside the service: there is no link to cut
        links = LinkFaults(proxy, names)
        processes = ProcessFaults(redis, direct)
        actuators: dict[Target, Actuator] = dict.fromkeys(names, links)
        actuators |= {"redis": processes, "cloud": processes}
        yield LocalStack(tuple(urls), settings, actuators, redis)


async def _fault_proxy(stack: AsyncExitStack, logs: Path) -> FaultProxy:
    port = claim_port(0, LOOPBACK)
    child = ChildProcess(
        "fault proxy",
        [sys.executable, "-m", "loadtest.proxy", "--port", str(port)],
        log=logs / "proxy.log",
    )
    stack.push_async_callback(child.stop)
    child.start()
    client = FaultProxy(f"http://{LOOPBACK}:{port}")
    stack.push_async_callback(client.aclose)

    async def probe() -> str | None:
        try:
            await client.version()
        except ConfigError as error:
            return str(error)
        return None

    await child.wait_ready(probe, READY_TIMEOUT_S)
    return client


async def _redis_through(proxy: FaultProxy, url: str) -> str:
    parts = urlsplit(url)
    spec = await proxy.create(
        "redis", upstream=f"{parts.hostname}:{parts.port}", listen=f"{LOOPBACK}:0"
    )
    secret = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{secret}@{spec.listen}").geturl()


async def _embedder_through(proxy: FaultProxy, embedder: ServedEmbedder) -> ServedEmbedder:
    """The same embedder behind a proxy, if it is a plain HTTP server."""
    parts = urlsplit(embedder.settings.url or "")
    if parts.scheme != "http" or parts.hostname is None:
        return embedder
    spec = await proxy.create(
        "embedder", upstream=f"{parts.hostname}:{parts.port or 80}", listen=f"{LOOPBACK}:0"
    )
    url = parts._replace(netloc=spec.listen).geturl()
    return replace(embedder, settings=embedder.settings.model_copy(update={"url": url}))


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
