"""GuardedServer: a uvicorn server that no silent peer can fill, and that stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER

from launch.listening.connections import KEEP_ALIVE_S, Connections, Patience
from launch.listening.descriptors import (
    ACCEPTED_AT_ONCE,
    connections_within,
    open_descriptors,
    raise_descriptor_limit,
)
from launch.listening.lines import LineBudget
from launch.listening.protocol import GuardedProtocol
from shared.errors import ConfigError

BACKLOG = 2048
GRACEFUL_SHUTDOWN_S = 5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class GuardedServer(uvicorn.Server):
    """Serves ``app`` until told to stop.

    Silent and slow peers are let go after a while, and at once where their place is needed. The
    process's limit of descriptors is raised as far as it may be, and some are always kept free.

    On SIGINT or SIGTERM: ``on_drain`` is called, so that the service can say it is about to go;
    for ``drain_s`` seconds requests are still taken, each answer with ``Connection: close``; then
    nobody new is, and what is under way is answered. A second signal ends the waiting. The signal
    is then done with: ``serve`` returns.

    Args:
        sockets: to listen on, from ``open_listeners``.
        reserve: descriptors kept for everything but connections.
        most: connections at once; None: as many as the descriptors allow.
        patience: with peers.
        drain_s: seconds between the signal and the end of listening.
        on_drain: called once, when the server is told to stop.
        with_signals: False leaves them to others, who set ``should_exit``.
        config: further fields of uvicorn's configuration.
    """

    def __init__(
        self,
        app: ASGIApp,
        sockets: list[socket.socket],
        *,
        reserve: int = 64,
        most: int | None = None,
        patience: Patience | None = None,
        drain_s: float = 0.0,
        on_drain: Callable[[], None] | None = None,
        with_signals: bool = True,
        **config: Any,
    ) -> None:
        if most is None:
            limit = raise_descriptor_limit()
            most = connections_within(limit, opened=open_descriptors(), reserve=reserve)
        self.connections = Connections(most, patience or Patience())
        self._lines = LineBudget(time.monotonic)
        self._drain_s = drain_s
        self._on_drain = on_drain
        self._stop_at: float | None = None
        self._with_signals = with_signals
        self._listeners = sockets
        options: dict[str, Any] = {
            "http": partial(GuardedProtocol, connections=self.connections, lines=self._lines),
            "ws": "none",
            "log_level": "warning",
            "access_log": False,  # nobody would see it, but its lines would be made
            "server_header": False,
            "proxy_headers": False,
            "timeout_keep_alive": KEEP_ALIVE_S,
            "timeout_graceful_shutdown": GRACEFUL_SHUTDOWN_S,
            # As many as are taken in one turn of the loop; the kernel's queue is made longer below.
            "backlog": ACCEPTED_AT_ONCE,
        }
        calm = _Calm(app, self._goes, lambda: self.should_exit)
        super().__init__(uvicorn.Config(calm, **(options | config)))

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, serve, and return once told to stop and done."""
        loop = asyncio.get_running_loop()
        before = loop.get_exception_handler()
        loop.set_exception_handler(self._on_loop_error)
        try:
            await super().serve(sockets or self._listeners)
        finally:
            loop.set_exception_handler(before)
            for listener in self._listeners:
                listener.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        if counter % 5 == 0:
            ended = self.connections.sweep(asyncio.get_running_loop().time())
            if ended:
                words = ", ".join(f"{count} of {phase.value}" for phase, count in ended.items())
                self._lines.logger.info("connections let go that kept us waiting: %s", words)
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def stop(self) -> None:
        """Begin to stop, or when that has begun, stop now."""
        if self._stop_at is not None:
            self.force_exit = self.should_exit
            self.should_exit = True
            return
        self._stop_at = time.monotonic() + self._drain_s
        if self._on_drain is not None:
            self._on_drain()
        if self._drain_s <= 0.0:
            self.should_exit = True

    def _goes(self) -> bool:
        return self._stop_at is not None or self.should_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stop()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._with_signals or threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _OUT_OF_RESOURCES and "socket" in context:
            self.connections.shed(ACCEPTED_AT_ONCE, loop.time())
            self._lines.logger.error("no connection can be taken: %s", error.strerror)
        else:
            loop.default_exception_handler(context)


class _Calm:
    """An app as it is, with two differences once the server stops. Whoever is answered is told to
    ask elsewhere next; a stop that did not wait is no failure of the app, to be logged with a
    traceback. Nor is a peer's going away, at any time.

    Args:
        goes: whether the server has begun to stop.
        ends: whether it waits for nothing more.
    """

    def __init__(self, app: ASGIApp, goes: Callable[[], bool], ends: Callable[[], bool]) -> None:
        self._app = app
        self._goes = goes
        self._ends = ends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            # Asked when the answer begins: the request may have come before the stop.
            if message["type"] == "http.response.start" and self._goes():
                message = {**message, "headers": [*message.get("headers", ()), CLOSE_HEADER]}
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except ClientDisconnect:
            return
        except asyncio.CancelledError:
            if not self._ends():
                raise


def open_listeners(host: str, port: int, *, name: str) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``; of the first one only where ``port`` is 0.

    Args:
        name: of the setting that chooses the port, for messages.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    opened: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # Whatever named addresses twice.
        for family, kind, proto, _, address in dict.fromkeys(found):
            listener = socket.socket(family, kind, proto)
            opened.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
            if port == 0:
                break
    except (OSError, UnicodeError) as error:
        for listener in opened:
            listener.close()
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {host}:{port} ({why}); choose another {name}, or 0 for a free port"
        ) from error
    return opened
