"""FarAway: a TCP proxy that holds every byte and every end of a stream back for the same while."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class FarAway:
    """Forwards to ``port`` with ``one_way_s`` seconds in each direction, without reordering."""

    def __init__(self, port: int, *, one_way_s: float) -> None:
        self._target = port
        self._one_way_s = one_way_s
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.port = 0

    async def __aenter__(self) -> FarAway:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, to_upstream), (upstream, writer)):
            chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
            for work in (self._read(source, chunks), self._write(chunks, sink)):
                task = asyncio.create_task(work)
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

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
