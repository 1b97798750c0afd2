"""`scalrec serve`: the cloud service, with the Redis and the vLLM it needs if none are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from math import ceil
from pathlib import Path
from typing import Annotated

import typer
from fastapi import FastAPI

from cloud_service.admin import create_admin_app
from cloud_service.app import create_app
from cloud_service.http.draining import Draining
from cloud_service.http.security import required_keys
from cloud_service.settings import CloudSettings
from cloud_service.telemetry.telemetry import Telemetry
from launch.listening.server import GRACEFUL_SHUTDOWN_S, GuardedServer, open_listeners
from launch.ports import claim_port
from launch.redis_server import RedisServer
from reports.marked import marked
from scalrec.console import ConsoleProgress, make_console, print_settings
from scalrec.folders import find_bundle
from scalrec.options import (
    Given,
    options,
)
from scalrec.running import run_command
from scalrec.settings import Settings
from scalrec.stack.cloud_keys import shared_on_this_machine, with_keys_on_loopback
from scalrec.stack.embedder_server import served_embedder
from shared.bundle import load_bundle
from shared.otel import open_tracing

EMBEDDER_CONNECTIONS, FILES = 64, 32  # descriptors that answers need, besides one per store call
ADMIN_CONNECTIONS = 32


@options("bundle host port embedder model profile work_dir assignments")
def serve(
    given: Given,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to serve (default: the one of log and profile).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
) -> None:
    """Serve snapshots over HTTP until interrupted.

    Callers show a token of the user they ask about (`scalrec token`). On loopback, without keys,
    one is made for this run, and `scalrec fleet` on this machine finds it. Metrics and the API's
    description are on a port of their own (cloud.admin_port), for this machine alone by default.
    """
    settings = given(cloud={"host": host, "port": port})
    run_command(_serve(settings, bundle or find_bundle(settings)))


async def _serve(settings: Settings, path: Path) -> None:
    console = make_console()
    print_settings(console, settings)
    bundle = load_bundle(path)
    settings = with_keys_on_loopback(settings)
    required_keys(settings.cloud)  # before anything is started
    port = claim_port(settings.cloud.port, settings.cloud.host)
    admin_port = claim_port(_admin_port(settings.cloud), settings.cloud.admin_host, promised=[port])
    logs = settings.work_dir / "serve"
    async with AsyncExitStack() as stack:
        tracing = open_tracing(settings.telemetry.traces, "scalrec-cloud")
        if tracing is not None:
            stack.callback(tracing.close)
        served = await stack.enter_async_context(
            served_embedder(
                settings,
                logs=logs,
                progress=ConsoleProgress(console),
                console=console,
                allow_fallback=False,
            )
        )
        cloud = settings.cloud
        if cloud.redis_url is None:
            redis = await stack.enter_async_context(RedisServer(logs / "redis"))
            cloud = cloud.model_copy(update={"redis_url": redis.url})
        settings = settings.model_copy(update={"cloud": cloud, "embedder": served.settings})
        telemetry = Telemetry.create(level=cloud.log_level)
        draining = Draining()
        app = create_app(
            settings,
            bundle=bundle,
            embedder=served.connect(tracing=tracing),
            telemetry=telemetry,
            tracing=tracing,
            draining=draining,
        )
        admin = create_admin_app(app, telemetry.metrics.registry)
        await stack.enter_async_context(_served_beside(admin, cloud.admin_host, admin_port))
        stack.enter_context(shared_on_this_machine(settings, port))
        console.print(
            marked(
                "[green]✓[/] bundle {} ({}) at http://{}:{}; metrics and API at /docs of http://{}:{}",
                bundle.id,
                bundle.manifest.log,
                cloud.host,
                port,
                cloud.admin_host,
                admin_port,
            ),
            soft_wrap=True,
        )
        answered_within_s = settings.embedder.deadline_s
        server = GuardedServer(
            app,
            open_listeners(cloud.host, port, name="cloud.port"),
            reserve=cloud.max_in_flight + EMBEDDER_CONNECTIONS + FILES,
            drain_s=cloud.drain_s,
            # Whatever is under way is answered by then, one way or another.
            timeout_graceful_shutdown=max(GRACEFUL_SHUTDOWN_S, 1 + ceil(answered_within_s)),
            on_drain=draining.begin,
        )
        await server.serve()
    console.print(marked("[green]✓[/] stopped"))


def _admin_port(cloud: CloudSettings) -> int:
    """The next one after the public port, unless it is set; 0 stands for any."""
    if cloud.admin_port is not None:
        return cloud.admin_port
    return cloud.port + 1 if 0 < cloud.port < 65535 else 0


@asynccontextmanager
async def _served_beside(app: FastAPI, host: str, port: int) -> AsyncIterator[None]:
    """``app`` at ``host:port`` for the length of the block."""
    listeners = open_listeners(host, port, name="cloud.admin_port")
    server = GuardedServer(app, listeners, most=ADMIN_CONNECTIONS, with_signals=False)
    running = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.should_exit = True
        await running
