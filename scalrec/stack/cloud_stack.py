"""Redis and the cloud service as processes of their own, for the time of one run."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
from pydantic import SecretStr

from launch.ports import claim_port
from launch.process import ChildProcess
from launch.redis_server import RedisServer
from scalrec.options import settings_environment
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import with_keys
from scalrec.stack.embedder_server import ServedEmbedder
from shared.progress import Progress

READY_TIMEOUT_S = 60.0
PROBE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class RunningCloud:
    """Where the cloud answers, and the children behind it (Redis is None when it was given).

    Attributes:
        settings: as the cloud runs with, its keys among them.
    """

    url: str
    admin_url: str
    settings: Settings
    service: ChildProcess
    redis: RedisServer | None

    @property
    def children(self) -> dict[str, ChildProcess]:
        """What was started for it, by part."""
        store = None if self.redis is None else self.redis.process
        return {"cloud": self.service} | ({} if store is None else {"store": store})


@asynccontextmanager
async def running_cloud(
    settings: Settings,
    bundle: Path,
    embedder: ServedEmbedder,
    *,
    logs: Path,
    progress: Progress,
) -> AsyncIterator[RunningCloud]:
    """Start what is missing, wait until /readyz says ready, stop everything on leaving.

    Raises:
        LaunchError: Redis or the service did not become ready; carries the tail of its log.
    """
    settings = with_keys(settings)
    async with AsyncExitStack() as stack:
        with progress.task("cloud service and Redis") as task:
            redis_url, redis = settings.cloud.redis_url, None
            if redis_url is None:
                redis = RedisServer(logs / "redis")
                stack.push_async_callback(redis.stop)
                redis_url = await redis.start()
            host = settings.cloud.host
            port = claim_port(settings.cloud.port, host)
            admin_port = claim_port(
                settings.cloud.admin_port or 0, settings.cloud.admin_host, promised=[port]
            )
            service = cloud_process(
                settings, embedder, redis_url, bundle, port, admin_port,
                name="cloud service", log=logs / "cloud.log",
            )  # fmt: skip
            stack.push_async_callback(service.stop)
            service.start()
            url = f"http://{host}:{port}"
            admin_url = f"http://{settings.cloud.admin_host}:{admin_port}"
            await service.wait_ready(
                lambda: probe_ready(url, admin_url),
                READY_TIMEOUT_S,
                on_wait=lambda s: task.advance(0, f"starting, {s:.0f} s"),
            )
        yield RunningCloud(
            url=url, admin_url=admin_url, settings=settings, service=service, redis=redis
        )


def cloud_process(
    settings: Settings,
    embedder: ServedEmbedder,
    redis_url: SecretStr,
    bundle: Path,
    port: int,
    admin_port: int,
    *,
    name: str,
    log: Path,
) -> ChildProcess:
    """`scalrec serve` as a child, not started yet; it drains nothing: nobody balances over it."""
    cloud = settings.cloud.model_copy(
        update={"port": port, "admin_port": admin_port, "redis_url": redis_url, "drain_s": 0.0}
    )
    served = settings.model_copy(update={"cloud": cloud, "embedder": embedder.settings})
    return ChildProcess(
        name,
        [sys.executable, "-m", "scalrec", "serve", "--bundle", str(bundle.absolute())],
        log=log,
        env=os.environ | settings_environment(served) | {"OMP_NUM_THREADS": "1"},
    )


async def probe_ready(url: str, admin_url: str | None = None) -> str | None:
    """None once /readyz says ready, else why not; its admin port knows more than its own."""
    async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as client:
        try:
            answer = await client.get(f"{url}/readyz")
            if answer.status_code != 200 and admin_url is not None:
                answer = await client.get(f"{admin_url}/readyz")
        except httpx.HTTPError as error:
            return str(error) or repr(error)
    return None if answer.status_code == 200 else answer.text[:300]
