"""A client that costs next to nothing, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import cast
from urllib.parse import urlsplit

_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Unanswered(Exception):
    """A request got another answer than 200, or none."""


class _ClientConnection(asyncio.Protocol):
    """One kept-alive connection: a request goes out whole, its answer is read by its length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[None] | None = None
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unanswered(f"the server closed the connection ({exc})"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head = self._received.find(_END)
        if head < 0 or self._answer is None or self._answer.done():
            return
        headers = bytes(self._received[:head]).lower()
        at = headers.find(_LENGTH)
        if not headers.startswith(b"http/1.1 200") or at < 0:
            self._answer.set_exception(Unanswered(headers.partition(b"\r\n")[0].decode()))
            return
        length = int(headers[at + len(_LENGTH) :].partition(b"\r\n")[0])
        if len(self._received) >= head + len(_END) + length:
            self._received.clear()
            self._answer.set_result(None)

    async def send(self, request: bytes) -> None:
        """Return when the answer is there; raises Unanswered unless it is a 200."""
        self._answer = asyncio.get_running_loop().create_future()
        cast(asyncio.Transport, self._transport).write(request)
        await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def http_request(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> bytes:
    """An HTTP/1.1 request as it goes over the wire."""
    parts = urlsplit(url)
    fields = {"Host": parts.netloc, **headers}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [f"{method} {parts.path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join(lines).encode() + _END + (body or b"")


async def requests_per_second(url: str, requests: Sequence[bytes], concurrency: int) -> float:
    """Send every request once, ``concurrency`` of them under way, over kept-alive connections.

    Raises:
        Unanswered: something else than 200 came back, or nothing.
        OSError: the server does not listen.
    """
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80
    waiting: Iterator[bytes] = iter(requests)
    connections = [
        (await loop.create_connection(_ClientConnection, host, port))[1] for _ in range(concurrency)
    ]

    async def work(connection: _ClientConnection) -> None:
        for request in waiting:
            await connection.send(request)

    try:
        started = time.perf_counter()
        await asyncio.gather(*(work(connection) for connection in connections))
        return len(requests) / (time.perf_counter() - started)
    finally:
        for connection in connections:
            connection.close()
