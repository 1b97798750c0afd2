"""An embedder whose server starts only when a text is not in the cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path

from rich.console import Console

from cloud_service.embedding.base import Embedder
from cloud_service.embedding.factory import create_embedder
from cloud_service.launch.model_files import resolve_model
from experiments.lazy_embedder import LazyEmbedder, identity_of
from scalrec.embedder_server import served_embedder
from scalrec.settings import Settings
from shared.progress import Progress


@asynccontextmanager
async def lazily_served(
    settings: Settings, *, logs: Path, progress: Progress, console: Console
) -> AsyncIterator[Embedder]:
    """Yield a client; what it started is stopped on leaving.

    Args:
        logs: folder for the server's log.

    Raises:
        ConfigError: the model cannot be had. The client raises what ``served_embedder`` does.
    """
    wanted, threads = settings.embedder, settings.training.threads
    async with AsyncExitStack() as stack:
        if wanted.backend == "hashing" or wanted.url is not None:
            client = create_embedder(wanted, model_dir=None, threads=threads)
        else:

            async def start() -> Embedder:
                served = await stack.enter_async_context(
                    served_embedder(
                        settings,
                        logs=logs,
                        progress=progress,
                        console=console,
                        allow_fallback=False,
                    )
                )
                return served.connect(threads)

            model_dir = resolve_model(wanted.model, cache=settings.cache)
            client = LazyEmbedder(identity_of(wanted, model_dir), start)
        # The client is closed before the server it talks to is stopped.
        async with aclosing(client):
            yield client
