"""Pump: one direction of one proxied connection, with the toxics that lie on it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from loadtest.proxy.request_gate import RequestGate
from loadtest.proxy.toxics import Toxic

CHUNK_BYTES = 16 * 1024
CHUNKS_HELD = 16  # per direction, so that a slow reader holds its sender back, not our memory
_END = b""


class _Chunk(NamedTuple):
    arrived_s: float
    data: bytes


class Pump:
    """Moves bytes from ``source`` to ``sink``; what the toxics ask for happens on the way.

    Args:
        source, sink: of the two sockets.
        rng: jitter.
        close: cuts the whole connection; its argument says whether by a TCP reset.
        gate: decides about each request in the bytes; None where answers flow.
        back: the client's socket, for answers that the gate gives itself.
    """

    def __init__(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        rng: Random,
        close: Callable[[bool], None],
        *,
        gate: RequestGate | None = None,
        back: asyncio.StreamWriter | None = None,
    ) -> None:
        self._source, self._sink = source, sink
        self._rng = rng
        self._close = close
        self._gate, self._back = gate, back
        self._toxics: tuple[Toxic, ...] = ()
        self._changed = asyncio.Event()
        self._held: asyncio.Queue[_Chunk] = asyncio.Queue(CHUNKS_HELD)
        self._expiry: asyncio.TimerHandle | None = None

    def set_toxics(self, toxics: Sequence[Toxic]) -> None:
        """Put these toxics, and no others, on what is and what will be under way.

        Removing a ``timeout`` closes the connection: the bytes it swallowed are gone.
        """
        lost = {t.name for t in self._toxics if t.type == "timeout"} - {t.name for t in toxics}
        self._toxics = tuple(toxics)
        self._changed.set()
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        ends = [t.value("timeout") for t in toxics if t.type == "timeout" and t.value("timeout")]
        if ends:
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(min(ends) / 1000.0, self._close, False)
        if lost:
            self._close(False)

    async def run(self) -> None:
        """Until the source ends or fails."""
        reading = asyncio.create_task(self._read())
        try:
            while True:
                chunk = await self._held.get()
                if chunk.data == _END:
                    await self._pass_end()
                    break
                if self._gate is None:
                    await self._pass(chunk)
                else:
                    await self._through(self._gate, chunk)
        finally:
            reading.cancel()
            if self._expiry is not None:
                self._expiry.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        data = b"-"
        while data != _END:
            try:
                data = await self._source.read(CHUNK_BYTES)
            except OSError:
                data = _END
            await self._held.put(_Chunk(loop.time(), data))

    async def _through(self, gate: RequestGate, chunk: _Chunk) -> None:
        for step in gate.feed(chunk.data):
            if step.wait_s:
                await self._pause(step.wait_s)
            if step.data:
                await self._pass(chunk._replace(data=step.data))
            if step.answer and self._back is not None:
                self._back.write(step.answer)
                await self._back.drain()
            if step.hang is not None:
                while step.hang in gate.toxics:
                    await self._pause(3600.0)
                self._close(False)
            if step.reset:
                self._close(True)

    async def _pass(self, chunk: _Chunk) -> None:
        for toxic in self._toxics:
            if toxic not in self._toxics:
                continue  # removed while an earlier one held this chunk back
            match toxic.type:
                case "timeout":
                    return  # swallowed; the close comes by timer, by removal or not at all
                case "reset_peer":
                    if not await self._pause(toxic.value("timeout") / 1000.0):
                        continue
                    self._close(True)
                    return
                case "latency":
                    jitter = toxic.value("jitter")
                    delay_ms = toxic.value("latency") + self._rng.uniform(-jitter, jitter)
                    due = chunk.arrived_s + delay_ms / 1000.0
                    await self._pause(due - asyncio.get_running_loop().time())
                case "bandwidth":
                    await self._throttle(toxic, len(chunk.data))
        self._sink.write(chunk.data)
        await self._sink.drain()

    async def _throttle(self, toxic: Toxic, size: int) -> None:
        rate = toxic.value("rate") * 1000.0
        if rate:
            await self._pause(size / rate)
            return
        while toxic in self._toxics:
            await self._pause(3600.0)

    async def _pass_end(self) -> None:
        if any(toxic.type == "timeout" for toxic in self._toxics):
            # Not even the end passes; whoever waits for it waits for the timer or the removal.
            await asyncio.get_running_loop().create_future()
        if self._sink.can_write_eof():
            self._sink.write_eof()

    async def _pause(self, seconds: float) -> bool:
        """Sleep, unless the toxics change meanwhile; True if it lasted."""
        self._changed.clear()
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.0, seconds))
        except TimeoutError:
            return True
        return False
