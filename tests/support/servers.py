"""Real servers on loopback for tests: an ASGI app under uvicorn, and a TCP proxy that delays."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from tests.support.forwarder import Forwarder, Work


class _QuietServer(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave Ctrl-C to pytest."""
        yield


@asynccontextmanager
async def serving(app: ASGIApp, *, port: int = 0, lifespan: str = "on") -> AsyncIterator[str]:
    """Base URL of ``app`` on a real socket; on leaving, connections are cut as by a kill."""
    # Named as TCP, or asyncio leaves Nagle on and every answer waits 40 ms for an ACK.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        app, log_level="error", lifespan=lifespan, timeout_graceful_shutdown=1, ws="none"
    )
    server = _QuietServer(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if running.done():
                running.result()
                raise RuntimeError("the server ended before it started")
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        for connection in list(server.server_state.connections):
            if transport := getattr(connection, "transport", None):
                transport.abort()
        await running
        listener.close()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class DelayProxy(Forwarder):
    """Forwards TCP to ``port``, holding back every chunk of an answer for a random while."""

    def __init__(self, port: int, *, max_delay_s: float, seed: int = 0):
        super().__init__(port)
        self._max_delay_s = max_delay_s
        self._rng = random.Random(seed)

    def carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answer: bool
    ) -> Work:
        return (self._pump(source, sink, 1.0 if answer else 0.0),)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay: float
    ) -> None:
        try:
            with suppress(OSError):
                while chunk := await source.read(65536):
                    if delay:
                        await asyncio.sleep(delay * self._rng.uniform(0, self._max_delay_s))
                    sink.write(chunk)
                    await sink.drain()
        finally:
            sink.close()
