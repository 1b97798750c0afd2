"""Embedding servers that the processes of several cells share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from experiments.settings import CellSettings

# Starts a server for the embedder of the settings and yields its address; leaving stops it.
Serve = Callable[[CellSettings], AbstractAsyncContextManager[str]]


class SharedServers:
    """At most one server per model and pooling, started when first asked for.

    A server nobody holds is stopped before another starts: each takes gigabytes.
    """

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._running: dict[tuple[str, str], tuple[str, AsyncExitStack]] = {}
        self._holders: dict[Hashable, tuple[str, str]] = {}
        self._lock = asyncio.Lock()

    async def url(self, settings: CellSettings, holder: Hashable) -> str:
        """Address of a server for the embedder of ``settings``, kept until ``release(holder)``.

        Raises:
            ScalrecError: it cannot be started.
        """
        model = (settings.embedder.model, settings.embedder.pooling)
        async with self._lock:
            if model not in self._running:
                for other in self._running.keys() - set(self._holders.values()):
                    await self._running.pop(other)[1].aclose()
                async with AsyncExitStack() as stack:
                    address = await stack.enter_async_context(self._serve(settings))
                    self._running[model] = (address, stack.pop_all())
            self._holders[holder] = model
            return self._running[model][0]

    def release(self, holder: Hashable) -> None:
        """The holder needs its server no more."""
        self._holders.pop(holder, None)

    async def aclose(self) -> None:
        """Stop all."""
        async with self._lock:
            while self._running:
                await self._running.popitem()[1][1].aclose()
            self._holders.clear()
