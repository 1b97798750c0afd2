"""CloudTransport: the seam through which bytes leave a device.

HttpTransport      real sockets, pooled
AsgiTransport      an ASGI app in the same process, no sockets
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import httpx2 as httpx

from shared.addresses import masked, masked_address
from shared.errors import ConfigError
from shared.proxies import proxy_for
from shared.snapshot import MAX_BLOB_BYTES
from shared.whole_answers import UNPACKED, UnreadableAnswer, whole_answer
from shared.words import as_said

MAX_CONNECTIONS = 64
# An idle connection is let go after this long: well before the cloud (75 s) and the balancers that
# may stand between (60 s), as a request that meets a server's closing is lost.
KEPT_S = 30.0


class TransportError(Exception):
    """No usable answer came back: connection refused or lost, name not found, answer too large."""


@dataclass(frozen=True, slots=True)
class TransportResponse:
    """An answer; header names are lower case.

    Attributes:
        resent: times the request was sent again, on a new connection, as the kept one had died.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    resent: int = 0


class CloudTransport(Protocol):
    """One request, one answer; no retries, no meaning. Requests must bear being sent twice."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        timeout_s: float,
    ) -> TransportResponse:
        """Send one request; raises TransportError. May be cancelled at any moment."""
        ...

    async def rebuild(self) -> None:
        """Drop all connections and start afresh."""
        ...

    async def aclose(self) -> None:
        """Release everything; the transport is not used afterwards."""
        ...


def cloud_url(address: str) -> httpx.URL:
    """The address of a cloud. Raises ConfigError, which tells no secret of it, if it is none."""
    try:
        url = httpx.URL(address)
        told = url.scheme in ("http", "https") and bool(url.host)
        told = told and (url.port is None or 0 < url.port <= 65535)
    except httpx.InvalidURL:  # not its words: they can quote a part of the password
        told = False
    if not told:
        raise ConfigError(
            f"the cloud's URL must be http(s)://host, not {masked_address(address)!r}: "
            "correct device.link.url or --cloud"
        )
    return url


def _tls() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the root certificates cannot be read ({error}); correct or unset SSL_CERT_FILE and "
            "SSL_CERT_DIR"
        ) from error


class HttpTransport:
    """HTTP/1.1 over a connection pool.

    A request that fails on a connection used before, while no answer has begun to come, most likely
    met the other side's closing it: it is sent once more, on a new connection.

    Args:
        base_url: of the cloud, e.g. http://127.0.0.1:8080.
        max_connections: requests under way at once; further ones wait within their own timeout.
        through_proxies: whether HTTP_PROXY and its like apply, as ``proxy_for`` reads them now.

    Raises:
        ConfigError: the URL is malformed, or a variable names a proxy that cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        max_connections: int = MAX_CONNECTIONS,
        through_proxies: bool = True,
    ) -> None:
        url = cloud_url(base_url)
        self._base_url = base_url
        # Requests wait here and never inside the pool: one that is cancelled there just when it
        # gets a connection loses that place for good (encode/httpcore #1093).
        self._places = asyncio.Semaphore(max_connections)
        self._kept = max_connections
        self._proxy = proxy_for(base_url, os.environ) if through_proxies else None
        # Reading the root certificates takes tens of milliseconds: done once, not at every
        # rebuild, and not at all where neither the cloud nor a proxy asks for TLS.
        plain = url.scheme == "http" and not (self._proxy or "").startswith("https:")
        self._tls: ssl.SSLContext | bool = False if plain else _tls()
        self._client = self._new_client()

    def _new_client(self, *, kept: int | None = None) -> httpx.AsyncClient:
        limits = httpx.Limits(
            max_connections=None,
            max_keepalive_connections=self._kept if kept is None else kept,
            keepalive_expiry=KEPT_S,
        )
        return httpx.AsyncClient(
            base_url=self._base_url,
            verify=self._tls,
            limits=limits,
            proxy=self._proxy,
            trust_env=False,  # read above, once
            follow_redirects=False,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        content: bytes,
        timeout_s: float,
    ) -> TransportResponse:
        deadline = asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                await self._places.acquire()
        except TimeoutError as error:
            raise TransportError(f"no free connection within {timeout_s:g} s") from error
        try:
            return await self._sent(method, path, headers, content, deadline)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError) as error:
            # RuntimeError: the client was closed by a rebuild while this request was under way.
            # Libraries quote what was sent, which may be long and no text.
            said = as_said(masked(str(error)))
            raise TransportError(f"{type(error).__name__}: {said}") from error
        finally:
            self._places.release()

    async def _sent(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes, deadline: float
    ) -> TransportResponse:
        """The answer; sent twice if the first time met the closing of a kept connection."""
        traced = _Traced()
        try:
            return await _exchange(
                self._client, method, path, headers, content, deadline, traced=traced
            )
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if traced.connected or traced.answered:
                raise
        async with self._new_client(kept=0) as once:
            answer = await _exchange(once, method, path, headers, content, deadline)
        return replace(answer, resent=1)

    async def rebuild(self) -> None:
        """New pool first, then close the old one, whose connections an outage may have broken."""
        old, self._client = self._client, self._new_client()
        # Closing broken connections may fail; nothing depends on it.
        with contextlib.suppress(httpx.HTTPError, OSError, RuntimeError):
            await old.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()


class AsgiTransport(HttpTransport):
    """An ASGI app called in this process; whoever owns the app runs its lifespan."""

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        super().__init__("http://device.invalid", through_proxies=False)

    def _new_client(self, *, kept: int | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._base_url,
            transport=httpx.ASGITransport(app=self._app),
            trust_env=False,
        )


@dataclass(slots=True)
class _Traced:
    """What the client said of one request.

    Attributes:
        connected: it opened a connection, so none that was kept has died.
        answered: the head of an answer came.
    """

    connected: bool = False
    answered: bool = False

    async def __call__(self, event: str, _: Mapping[str, Any]) -> None:
        self.connected = self.connected or event.startswith("connection.connect_")
        self.answered = self.answered or event == "http11.receive_response_headers.complete"


async def _exchange(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    headers: Mapping[str, str],
    content: bytes,
    deadline: float,
    *,
    traced: _Traced | None = None,
) -> TransportResponse:
    timeout_s = max(deadline - asyncio.get_running_loop().time(), 0.0)
    async with client.stream(
        method,
        path,
        headers={**headers, **UNPACKED},
        content=content,
        timeout=timeout_s,
        extensions={} if traced is None else {"trace": traced},
    ) as response:
        try:
            body = await whole_answer(response.aiter_raw(), response.headers, MAX_BLOB_BYTES)
        except UnreadableAnswer as error:
            raise TransportError(str(error)) from error
    lowered = {name.lower(): value for name, value in response.headers.items()}
    return TransportResponse(response.status_code, lowered, body)
