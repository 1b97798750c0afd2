"""Proxy: one listening address, one upstream, the toxics between, and every open connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Iterable
from random import Random

from loadtest.proxy.pump import Pump
from loadtest.proxy.request_gate import RequestGate
from loadtest.proxy.toxics import MAX_TOXICS, ProxySpec, Stream, Toxic, host_port

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 1024
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on with 0 s: closing sends RST


class ProxyError(Exception):
    """What a caller asked for cannot be done; ``status`` is the HTTP status that says so."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _ProxiedConnection:
    """One client with its upstream."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        rng: Random,
    ) -> None:
        self._writers = (client[1], upstream[1])
        self._luck: dict[str, float] = {}
        self._rng = rng
        self._gate = RequestGate(rng)
        self._pumps: dict[Stream, Pump] = {
            "upstream": Pump(
                client[0], upstream[1], rng, self.close, gate=self._gate, back=client[1]
            ),
            "downstream": Pump(upstream[0], client[1], rng, self.close),
        }
        self._cut = asyncio.Event()

    def set_toxics(self, toxics: Iterable[Toxic]) -> None:
        every = tuple(toxics)
        self._gate.toxics = [toxic for toxic in every if toxic.per_request]
        toxics = [toxic for toxic in every if not toxic.per_request]
        names = {toxic.name for toxic in toxics}
        # A toxic that is removed and made again is drawn again.
        self._luck = {name: luck for name, luck in self._luck.items() if name in names}
        hit = [t for t in toxics if self._luck.setdefault(t.name, self._rng.random()) < t.toxicity]
        for stream, pump in self._pumps.items():
            pump.set_toxics([toxic for toxic in hit if toxic.stream == stream])

    def close(self, reset: bool) -> None:
        for writer in self._writers:
            if reset and (sock := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            if reset:
                writer.transport.abort()
            else:
                writer.close()
        self._cut.set()

    async def run(self) -> None:
        """Until both directions have ended, or the connection was cut."""
        pumps = [asyncio.create_task(pump.run()) for pump in self._pumps.values()]
        ended = asyncio.create_task(_ended(pumps))
        cut = asyncio.create_task(self._cut.wait())
        try:
            await asyncio.wait({cut, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            cut.cancel()
            ended.cancel()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(cut, ended, *pumps, return_exceptions=True)
            for writer in self._writers:
                writer.close()


async def _ended(pumps: list[asyncio.Task[None]]) -> None:
    """Return when the pumps have, however they did: a peer that vanished is no news."""
    await asyncio.gather(*pumps, return_exceptions=True)


class Proxy:
    """A TCP proxy that can be cut and poisoned while it runs.

    Args:
        spec: name, addresses and first toxics; ``start`` opens it if ``enabled``.
        seed: of toxicity and jitter.
    """

    def __init__(self, spec: ProxySpec, *, seed: int = 0) -> None:
        self._spec = spec.model_copy(update={"toxics": ()})
        self._toxics: dict[str, Toxic] = {toxic.name: toxic for toxic in spec.toxics}
        self._rng = Random(seed)
        self._server: asyncio.Server | None = None
        self._turn = asyncio.Lock()  # opening and closing, whoever asks for them at once
        self._open: dict[asyncio.Task[None], _ProxiedConnection | None] = {}

    @property
    def spec(self) -> ProxySpec:
        """What it is now: the port really taken, whether it is open, all its toxics."""
        toxics = tuple(self._toxics.values())
        return self._spec.model_copy(update={"toxics": toxics, "enabled": self._server is not None})

    async def update(self, *, listen: str, upstream: str, enabled: bool) -> None:
        """Change addresses, open or close; raises ProxyError (the address cannot be had)."""
        async with self._turn:
            if (listen, upstream) != (self._spec.listen, self._spec.upstream):
                await self._stop()
                self._spec = self._spec.model_copy(update={"listen": listen, "upstream": upstream})
            await (self._start() if enabled else self._stop())

    async def start(self) -> None:
        """Accept connections; raises ProxyError if the address cannot be had."""
        async with self._turn:
            await self._start()

    async def stop(self) -> None:
        """Refuse connections and cut the open ones."""
        async with self._turn:
            await self._stop()

    async def _start(self) -> None:
        if self._server is not None:
            return
        host, port = host_port(self._spec.listen)
        try:
            self._server = await asyncio.start_server(self._accept, host or None, port)
        except OSError as error:
            raise ProxyError(f"cannot listen on {self._spec.listen}: {error}", 500) from error
        bound = self._server.sockets[0].getsockname()[1]
        # Kept over stop and start, so that clients find it again.
        self._spec = self._spec.model_copy(update={"listen": f"{host}:{bound}"})

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        tasks = list(self._open)
        for task in tasks:
            connection = self._open[task]
            if connection is not None:
                connection.close(True)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def add(self, toxic: Toxic) -> None:
        """Raises ProxyError: the name is taken (409), or there are too many (400)."""
        if toxic.name in self._toxics:
            raise ProxyError(f"toxic {toxic.name!r} already exists", 409)
        if len(self._toxics) >= MAX_TOXICS:
            raise ProxyError(f"{self._spec.name!r} has {MAX_TOXICS} toxics already", 400)
        self._toxics[toxic.name] = toxic
        self._poison()

    def remove(self, name: str) -> None:
        """Raises ProxyError (404)."""
        if self._toxics.pop(name, None) is None:
            raise ProxyError(f"toxic {name!r} not found on {self._spec.name!r}", 404)
        self._poison()

    def clear(self) -> None:
        """Remove all toxics."""
        self._toxics.clear()
        self._poison()

    def _poison(self) -> None:
        for connection in self._open.values():
            if connection is not None:
                connection.set_toxics(self._toxics.values())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= MAX_CONNECTIONS:
            writer.transport.abort()
            return
        self._open[task] = None
        try:
            connection = await self._connect(reader, writer)
            if connection is not None:
                self._open[task] = connection
                connection.set_toxics(self._toxics.values())
                await connection.run()
        except asyncio.CancelledError:
            pass  # stop() waits for this task; the streams' own callback would log it as a crash
        finally:
            del self._open[task]
            writer.close()

    async def _connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> _ProxiedConnection | None:
        host, port = host_port(self._spec.upstream)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                upstream = await asyncio.open_connection(host, port)
        except (OSError, TimeoutError) as error:
            logger.info("%s: no connection to %s: %s", self._spec.name, self._spec.upstream, error)
            return None
        return _ProxiedConnection((reader, writer), upstream, self._rng)
