"""A fault proxy before a server that answers every line with itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtest.proxy.client import FaultProxy
from loadtest.proxy.control import Switchboard, control_app
from tests.support.servers import serving

LINE = b"hello\n"


@asynccontextmanager
async def echo() -> AsyncIterator[str]:
    """Address of a server that answers every line with itself."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def proxied(seed: int = 0) -> AsyncIterator[tuple[FaultProxy, int]]:
    """A client of a running control API, and the port of its proxy ``echo``."""
    async with (
        echo() as upstream,
        serving(control_app(Switchboard(seed=seed))) as url,
        FaultProxy(url) as client,
    ):
        spec = await client.create("echo", upstream=upstream, listen="127.0.0.1:0")
        yield client, int(spec.listen.rpartition(":")[2])


class Peer:
    """One connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def round_trip(self, data: bytes = LINE) -> float:
        """Seconds until the echo; raises ConnectionError if there is none."""
        started = time.perf_counter()
        self.writer.write(data)
        if await self.reader.readline() != data:
            raise ConnectionResetError("closed")
        return time.perf_counter() - started

    def close(self) -> None:
        self.writer.close()
