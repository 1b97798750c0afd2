"""FarAway: a TCP proxy that holds every byte and every end of a stream back for the same while."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.support.forwarder import Forwarder, Work


class FarAway(Forwarder):
    """Forwards to ``port`` with ``one_way_s`` seconds in each direction, without reordering."""

    def __init__(self, port: int, *, one_way_s: float) -> None:
        super().__init__(port)
        self._one_way_s = one_way_s

    def carry(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answer: bool
    ) -> Work:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        return self._read(source, chunks), self._write(chunks, sink)

    async def _read(
        self, source: asyncio.StreamReader, chunks: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        loop = asyncio.get_running_loop()
        chunk = b"-"
        while chunk:
            try:
                chunk = await source.read(65536)
            except OSError:
                chunk = b""
            chunks.put_nowait((loop.time() + self._one_way_s, chunk))

    async def _write(
        self, chunks: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                due, chunk = await chunks.get()
                await asyncio.sleep(max(due - loop.time(), 0.0))
                if not chunk:
                    return
                with suppress(OSError):
                    sink.write(chunk)
                    await sink.drain()
        finally:
            sink.close()
