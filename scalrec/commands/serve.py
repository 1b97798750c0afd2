"""`scalrec serve`: the cloud service, with the Redis and the vLLM it needs if none are given."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from cloud_service.app import create_app
from cloud_service.launch.ports import claim_port
from cloud_service.launch.redis_server import RedisServer
from scalrec.bundles import bundle_dir
from scalrec.console import ConsoleProgress, make_console, print_settings
from scalrec.embedder_server import served_embedder
from scalrec.options import (
    EmbedderOption,
    ModelOption,
    SetOption,
    WorkDirOption,
    settings_from,
)
from scalrec.running import run_command
from shared.bundle import load_bundle
from shared.settings import Settings

GRACEFUL_SHUTDOWN_S = 5


def serve(
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to serve (default: the one of log and profile).")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    embedder: EmbedderOption = None,
    model: ModelOption = None,
    work_dir: WorkDirOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve snapshots over HTTP until interrupted; the API is described at /docs."""
    settings = settings_from(
        embedder=embedder,
        model=model,
        work_dir=work_dir,
        assignments=assignments,
        cloud={"host": host, "port": port},
    )
    run_command(_serve(settings, bundle or bundle_dir(settings)))


async def _serve(settings: Settings, path: Path) -> None:
    console = make_console()
    print_settings(console, settings)
    bundle = load_bundle(path)
    port = claim_port(settings.cloud.port, settings.cloud.host)
    logs = settings.work_dir / "serve"
    async with AsyncExitStack() as stack:
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
        app = create_app(settings, bundle=bundle, embedder=served.connect())
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=cloud.host,
                port=port,
                log_level="warning",
                timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_S,
            )
        )
        console.print(
            f"[green]✓[/] bundle {bundle.id} ({bundle.manifest.log}) at "
            f"http://{cloud.host}:{port}, API at /docs"
        )
        await server.serve()
