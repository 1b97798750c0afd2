"""Kinds of connections to Redis: they keep a refusal's words, and may ask who the primary is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError

Primary = Callable[[], Awaitable[tuple[str, int]]]
_MOST_WORDS = 512


class _Worded(AbstractConnection):
    """Tells why the server closed it, if the server said so before it was asked anything.

    A Redis with as many clients as it may have, or in protected mode, does that; redis-py finds
    that it cannot write, and reads no more.
    """

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        try:
            await super()._send_packed_command(command)
        except OSError as error:
            # Past the reader's own error, which would come up first.
            unread = bytes(getattr(self._reader, "_buffer", b""))[:_MOST_WORDS]
            words = unread.decode(errors="replace").strip()
            if words.startswith("-"):
                raise RedisConnectionError(words.removeprefix("-")) from error
            raise


class _Plain(_Worded, Connection):
    """Over TCP."""


class _Tls(_Worded, SSLConnection):
    """Over TLS."""


class _Local(_Worded, UnixDomainSocketConnection):
    """Over a socket of this machine."""


class _FollowsPrimary(AbstractConnection):
    """To whoever is the primary when it connects."""

    host: str
    port: int

    def __init__(self, *, primary: Primary, **options: Any):
        super().__init__(**options)
        self._primary = primary

    async def _connect(self) -> None:
        self.host, self.port = await self._primary()
        await super()._connect()  # type: ignore[no-untyped-call,safe-super]


class _ToPrimary(_FollowsPrimary, _Plain):
    """Over TCP to the primary."""


class _TlsToPrimary(_FollowsPrimary, _Tls):
    """Over TLS to the primary."""


# By what redis-py makes of a URL.
DIRECT: Mapping[type[AbstractConnection], type[AbstractConnection]] = MappingProxyType(
    {Connection: _Plain, SSLConnection: _Tls, UnixDomainSocketConnection: _Local}
)
TO_PRIMARY: Mapping[type[AbstractConnection], type[AbstractConnection]] = MappingProxyType(
    {Connection: _ToPrimary, SSLConnection: _TlsToPrimary}
)
