"""A GuardedServer in this process, on a real socket, and raw clients that behave badly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from launch.listening.server import GuardedServer, open_listeners


@asynccontextmanager
async def guarded(app: Any, **options: Any) -> AsyncIterator[tuple[GuardedServer, int]]:
    """The server and its port."""
    listeners = open_listeners("127.0.0.1", 0, name="port")
    server = GuardedServer(app, listeners, with_signals=False, lifespan="off", **options)
    running = asyncio.create_task(server.serve())
    try:
        yield server, listeners[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


class RawClient:
    """One connection that says what it is told to, when it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> RawClient:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()

    async def drip(self, text: bytes, every_s: float) -> None:
        """Send byte by byte until all is said or the server has gone."""
        with suppress(OSError):
            for byte in text:
                self.writer.write(bytes([byte]))
                await self.writer.drain()
                await asyncio.sleep(every_s)

    async def rest(self, timeout_s: float = 5.0) -> bytes:
        """All that comes until the server closes."""
        read = bytearray()
        with suppress(ConnectionError):
            async with asyncio.timeout(timeout_s):
                while chunk := await self.reader.read(65536):
                    read += chunk
        return bytes(read)
