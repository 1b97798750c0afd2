"""RequestGate: finds the HTTP/1.1 requests in what a client sends, and draws the fate of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from random import Random
from typing import NamedTuple

import h11

from loadtest.proxy.toxics import Toxic

MAX_HEAD_BYTES = 64 * 1024
_METHOD = re.compile(rb"[A-Z]{1,20}(?: |\Z)")
_REQUEST_LINE = re.compile(rb"[A-Z]{1,20} \S+ HTTP/1\.[01]\r?\n")


class Step(NamedTuple):
    """What is to be done next with a client's bytes, in this order: wait, pass, answer or reset.

    Attributes:
        wait_s: before anything else.
        data: goes on to the server.
        answer: goes back to the client in the server's place.
        reset: the connection ends by a TCP reset.
        hang: nothing more happens until this toxic is removed, which closes the connection.
    """

    wait_s: float = 0.0
    data: bytes = b""
    answer: bytes = b""
    reset: bool = False
    hang: Toxic | None = None


class RequestGate:
    """One connection's requests; bytes that pass are those that came, unchanged.

    Each request's fate is drawn once its head is there: all of a share of requests is a share of
    requests, however many of them a connection carries. What is no HTTP/1 passes. A client that
    sends its next request before it has the answer to the last may see answers out of order.
    """

    def __init__(self, rng: Random) -> None:
        self.toxics: Sequence[Toxic] = ()
        self._rng = rng
        self._opaque = False  # not HTTP/1, or no longer
        self._parser = _parser()
        self._fresh = True  # no byte of the request has come
        self._head = self._ended = self._drawn = self._posts = False
        self._holds = False  # bytes are kept back until the fate is drawn
        self._failed: Toxic | None = None
        self._start = b""
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Step]:
        """What becomes of the next bytes; take all steps before feeding more."""
        while data and not self._opaque:
            if self._fresh:
                self._fresh, self._holds = False, bool(self.toxics)
            self._start = (self._start + data)[:MAX_HEAD_BYTES] if not self._head else b""
            try:
                rest = self._parse(data)
            except h11.RemoteProtocolError:
                self._opaque = True
                break
            data, own = rest, data[: len(data) - len(rest)]
            yield from self._decide(own)
        if data:
            if self._held:
                yield Step(data=bytes(self._held))
                self._held.clear()
            yield Step(data=data)

    def _begin(self) -> None:
        """Be ready for the next request."""
        self._parser = _parser()
        self._fresh = True
        self._head = self._ended = self._drawn = self._holds = False
        self._failed = None
        self._start = b""
        self._held.clear()

    def _parse(self, data: bytes) -> bytes:
        """Bytes after this request's end; raises RemoteProtocolError (not HTTP)."""
        if not self._head and not _looks_like_http(self._start):
            raise h11.RemoteProtocolError("no request line")
        self._parser.receive_data(data)
        while not self._ended:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self._head, self._posts = True, event.method == b"POST"
            elif isinstance(event, h11.EndOfMessage):
                self._ended = True
                return self._parser.trailing_data[0]
            elif event is h11.NEED_DATA:
                return b""
            elif event is h11.PAUSED:  # CONNECT or an upgrade: no requests from here on
                raise h11.RemoteProtocolError("another protocol")
        return b""

    def _decide(self, own: bytes) -> Iterator[Step]:
        wait_s = 0.0
        if self._head and not self._drawn:
            self._drawn = True
            if self._holds:
                wait_s = self._draw()
        if self._holds and not self._drawn:
            self._held += own
        elif self._failed is None:
            yield Step(wait_s=wait_s, data=bytes(self._held) + own)
            self._held.clear()
        elif self._failed.type == "http_hang":
            yield Step(wait_s=wait_s, hang=self._failed)
        elif not self._failed.value("status"):
            yield Step(wait_s=wait_s, reset=True)
        elif self._parser.they_are_waiting_for_100_continue:
            yield Step(wait_s=wait_s, answer=_answer(self._failed, close=True))
            yield Step(reset=True)
        elif self._ended:
            yield Step(wait_s=wait_s, answer=_answer(self._failed, close=False))
        elif wait_s:
            yield Step(wait_s=wait_s)
        if self._ended:
            self._begin()

    def _draw(self) -> float:
        """Draw for every toxic; returns seconds to wait."""
        wait_ms = 0.0
        for toxic in self.toxics:
            if toxic.value("posts") and not self._posts:
                continue
            if self._rng.random() >= toxic.toxicity:
                continue
            if toxic.type != "http_delay":
                self._failed = self._failed or toxic
            else:
                jitter = toxic.value("jitter")
                wait_ms += max(0.0, toxic.value("latency") + self._rng.uniform(-jitter, jitter))
        return wait_ms / 1000.0


def _parser() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)


def _looks_like_http(start: bytes) -> bool:
    """Whether a request may begin so; decided by the first line once it is there."""
    start = start.lstrip(b"\r\n")
    if not start:
        return True
    if b"\n" in start:
        return _REQUEST_LINE.match(start) is not None
    return _METHOD.match(start) is not None


def _answer(toxic: Toxic, *, close: bool) -> bytes:
    status = toxic.value("status")
    known = status in HTTPStatus._value2member_map_
    phrase = HTTPStatus(status).phrase if known else "Failed"
    end = "Connection: close\r\n" if close else ""
    return (
        f"HTTP/1.1 {status} {phrase}\r\nContent-Length: 0\r\nRetry-After: 1\r\n{end}\r\n"
    ).encode()
