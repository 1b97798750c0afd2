"""Redis, cloud processes and the fault proxies before them, as children, for one scenario."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from launch.ports import LOOPBACK, claim_port
from launch.process import ChildProcess
from launch.redis_server import RedisServer
from loadtest.faults.driver import Actuator, LinkFaults
from loadtest.faults.fault import Target
from loadtest.proxy.client import FaultProxy
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import with_keys
from scalrec.stack.cloud_stack import READY_TIMEOUT_S, cloud_process, probe_ready
from scalrec.stack.embedder_server import ServedEmbedder
from scalrec.stack.process_faults import ProcessFaults
from shared.errors import ConfigError
from shared.files import write_whole
from shared.progress import Progress


@dataclass(frozen=True)
class LocalStack:
    """What was started, and how faults are done to it.

    Attributes:
        urls: one per replica, through the proxies. direct_url: of the first, beside its proxy.
        settings: hold the keys.
        processes: faults of the children; knows which are away on purpose.
        embedder: its server, if it was started here.
    """

    urls: tuple[str, ...]
    direct_url: str
    settings: Settings
    actuators: Mapping[Target, Actuator]
    processes: ProcessFaults
    embedder: ChildProcess | None

    @property
    def children(self) -> dict[str, ChildProcess]:
        """What was started, by part, as it is now."""
        served = {} if self.embedder is None else {"embedder": self.embedder}
        return self.processes.children | served


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
            # Replicas start together: none of them listens when the next one's ports are chosen.
            ports: list[int] = []
            for n in range(replicas):
                for _ in range(2):
                    ports.append(claim_port(0, LOOPBACK, promised=ports))
                port, admin = ports[-2:]
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
        processes = ProcessFaults(redis, direct, proxy, logs)
        stack.push_async_callback(processes.aclose)
        actuators: dict[Target, Actuator] = dict.fromkeys(names, links)
        actuators |= {"redis": processes, "cloud": processes}
        if served is not embedder:
            actuators["embedder"] = links
        yield LocalStack(
            urls=tuple(urls),
            direct_url=next(iter(direct)),
            settings=settings,
            actuators=actuators,
            processes=processes,
            embedder=embedder.process,
        )


async def _fault_proxy(stack: AsyncExitStack, logs: Path) -> FaultProxy:
    port, token = claim_port(0, LOOPBACK), secrets.token_urlsafe(32)
    secret = write_whole(logs / "proxy.token", token, mode=0o600)
    stack.callback(secret.unlink, missing_ok=True)
    command = [sys.executable, "-m", "loadtest.proxy", "--port", str(port)]
    command += ["--token-file", str(secret), "--make-on", LOOPBACK]
    child = ChildProcess("fault proxy", command, log=logs / "proxy.log")
    stack.push_async_callback(child.stop)
    child.start()
    client = FaultProxy(f"http://{LOOPBACK}:{port}", token)
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
