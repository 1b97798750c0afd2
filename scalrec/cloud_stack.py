"""Redis and the cloud service as processes of their own, for the time of one run."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from cloud_service.launch.ports import claim_port
from cloud_service.launch.process import ChildProcess
from cloud_service.launch.redis_server import RedisServer
from scalrec.cloud_keys import with_keys
from scalrec.embedder_server import ServedEmbedder
from scalrec.options import settings_environment
from scalrec.settings import Settings
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
            admin_port = claim_port(settings.cloud.admin_port or 0, settings.cloud.admin_host)
            service = ChildProcess(
                "cloud service",
                [sys.executable, "-m", "scalrec", "serve", "--bundle", str(bundle.absolute())],
                log=logs / "cloud.log",
                env=os.environ
                | service_environment(settings, embedder, redis_url, port, admin_port),
            )
            stack.push_async_callback(service.stop)
            service.start()
            url = f"http://{host}:{port}"
            await service.wait_ready(
                lambda: probe_ready(url),
                READY_TIMEOUT_S,
                on_wait=lambda s: task.advance(0, f"starting, {s:.0f} s"),
            )
        admin_url = f"http://{settings.cloud.admin_host}:{admin_port}"
        yield RunningCloud(url, admin_url, settings, service, redis)


def service_environment(
    settings: Settings,
    embedder: ServedEmbedder,
    redis_url: SecretStr,
    port: int,
    admin_port: int,
) -> dict[str, str]:
    cloud = settings.cloud.model_copy(
        update={"port": port, "admin_port": admin_port, "redis_url": redis_url}
    )
    served = settings.model_copy(update={"cloud": cloud, "embedder": embedder.settings})
    return settings_environment(served) | {"OMP_NUM_THREADS": "1"}


async def probe_ready(url: str) -> str | None:
    async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False) as client:
        try:
            answer = await client.get(f"{url}/readyz")
        except httpx.HTTPError as error:
            return str(error) or repr(error)
    return None if answer.status_code == 200 else answer.text[:300]
