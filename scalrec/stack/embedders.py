"""Embedders: what embeds texts for training, and what serves devices meanwhile and afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cloud_service.embedding.base import model_name
from scalrec.settings import Settings
from scalrec.stack.embedder_server import ServedEmbedder, served_embedder
from shared.progress import NullProgress, Progress
from training.background import beside
from training.semantic.inside import embedding_inside


@dataclass(frozen=True)
class Embedders:
    """Of one run.

    Attributes:
        training: for many texts at a time.
        starting: the server, where devices need another one than training does.
    """

    training: ServedEmbedder
    progress: Progress
    starting: asyncio.Task[ServedEmbedder] | None = None

    async def serving(self) -> ServedEmbedder:
        """What answers devices; waits until it does.

        Raises:
            LaunchError: it did not start; carries the tail of its log.
        """
        if self.starting is None:
            return self.training
        with self.progress.task(f"vLLM serves {model_name(self.training.settings.model)}"):
            return await self.starting


@asynccontextmanager
async def embedders(
    settings: Settings,
    *,
    serves: bool,
    logs: Path,
    progress: Progress,
    console: Console,
    allow_fallback: bool,
) -> AsyncIterator[Embedders]:
    """Yield both, the same where training embeds by the server; they are stopped on leaving.

    A server of its own starts at once, beside whatever the caller does meanwhile: it takes half a
    minute, mostly of one core.

    Args:
        serves: devices are going to ask; False: only training, or a cloud without processes.
        logs, console, allow_fallback, and what is raised: as of ``served_embedder``.
    """
    inside = embedding_inside(settings)
    same = inside is settings
    async with AsyncExitStack() as stack:

        async def start(wanted: Settings, shown: Progress) -> ServedEmbedder:
            return await stack.enter_async_context(
                served_embedder(
                    wanted, logs=logs, progress=shown, console=console,
                    allow_fallback=allow_fallback,
                )
            )  # fmt: skip

        training = await start(inside, progress)
        if same or not serves:
            yield Embedders(training, progress)
            return
        async with beside(start(settings, NullProgress())) as starting:
            # Its first step finds out whether there is a vLLM: better said now than after training.
            await asyncio.sleep(0)
            if starting.done():
                starting.result()
            yield Embedders(training, progress, starting)
