"""The address of a Redis: one server, or the primary that Sentinels name; and pools to it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis.asyncio.connection import BlockingConnectionPool, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from cloud_service.coalescing import Coalescer
from cloud_service.store.connection_kinds import DIRECT, TO_PRIMARY
from shared.errors import ConfigError

SENTINEL_PORT = 26379
_SETTING = "cloud.redis_url (or REDIS_URL)"
_FORMS = (
    "write redis://, rediss:// or unix://, or for Sentinels "
    "redis+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/NAME-OF-PRIMARY/DATABASE, and "
    "percent-encode / ? # @ : in a password"
)
_LINES = MaintNotificationsConfig(enabled=False)


class RedisAddress:
    """Where Redis is, as a URL says it.

    Besides what redis-py reads, ``redis+sentinel://`` and ``rediss+sentinel://`` (TLS to both) name
    Sentinels and the primary they watch. Name and password are those of Redis; the Sentinels' own
    are ``?sentinel_username=`` and ``?sentinel_password=``.

    Args:
        url: see above.
        deadline_s: for one call; Sentinels that are silent may take a part of it only.
        max_connections: of a pool; callers wait for a free one within the deadline.

    Raises:
        ConfigError: the URL is malformed, or has options that are unknown or set by the store.
    """

    def __init__(self, url: str, *, deadline_s: float, max_connections: int):
        self._sentinel: Sentinel | None = None
        self._options: dict[str, Any] = {
            "socket_timeout": deadline_s,
            "socket_connect_timeout": deadline_s,
            "decode_responses": False,
            # RESP3 and maintenance pushes would switch off redis-py's own check that a
            # connection from the pool has no unread data.
            "protocol": 2,
            "maint_notifications_config": _LINES,
            "driver_info": None,  # two commands less, which few users may send
            # Repeated by the store, over new connections.
            "retry": Retry(NoBackoff(), retries=0),
            "max_connections": max_connections,
            "timeout": deadline_s,
        }
        try:
            given = self._parsed(url, deadline_s)
            if taken := sorted(given.keys() & self._options.keys()):
                raise ConfigError(
                    f"{_SETTING} sets {taken[0]}, which the service sets; leave it out"
                )
            _require_files(given)
            self._options |= given
            # Connects nowhere, but looks at every option.
            self.pool().make_connection()  # type: ignore[no-untyped-call]
        except (ValueError, TypeError, RedisError) as error:
            # Not its words: they can quote a part of the password.
            unknown = isinstance(error, TypeError)
            what = "has an option that redis-py does not know" if unknown else "is not a Redis URL"
            raise ConfigError(f"{_SETTING} {what}: {_FORMS}") from None

    def pool(self) -> BlockingConnectionPool:
        """A new pool, without connections yet; each one looks the address up when it connects."""
        return BlockingConnectionPool(**self._options)

    async def aclose(self) -> None:
        """Release the connections to the Sentinels."""
        if self._sentinel is not None:
            await self._sentinel.aclose()

    def _parsed(self, url: str, deadline_s: float) -> dict[str, Any]:
        scheme, is_sentinel, rest = url.partition("+sentinel://")
        if not is_sentinel:
            parts = urlsplit(url)
            # redis-py would take a name for database 0.
            if parts.scheme != "unix" and not (parts.path.strip("/") or "0").isdecimal():
                raise ValueError("path")
            direct: dict[str, Any] = dict(parse_url(url))
            direct["connection_class"] = DIRECT[direct.get("connection_class", Connection)]
            return direct
        if scheme not in ("redis", "rediss"):
            raise ValueError("scheme")
        parts = urlsplit(f"{scheme}://{rest}")
        userinfo, _, hosts = parts.netloc.rpartition("@")
        name, _, database = parts.path.strip("/").partition("/")
        if not name or not hosts or not (database or "0").isdecimal():
            raise ValueError("path")
        query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        own = {
            key.removeprefix("sentinel_"): query.pop(key)
            for key in ("sentinel_username", "sentinel_password")
            if key in query
        }
        at = f"{userinfo}@" if userinfo else ""
        plain = f"{scheme}://{at}redis/{database or 0}?{urlencode(query)}"
        given: dict[str, Any] = dict(parse_url(plain))
        del given["host"]
        kind = given.get("connection_class", Connection)
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            [_host_and_port(host) for host in hosts.split(",")],
            sentinel_kwargs={
                # Three Sentinels, two of them silent, must fit into one call.
                "socket_timeout": deadline_s / 4,
                "socket_connect_timeout": deadline_s / 4,
                "protocol": 2,
                "maint_notifications_config": _LINES,
                "retry": Retry(NoBackoff(), retries=0),  # the next one is asked instead
                **({"ssl": True} | _tls_options(given) if kind is SSLConnection else {}),
                **own,
            },
        )
        given["primary"] = _PrimaryOf(self._sentinel, unquote(name))
        given["connection_class"] = TO_PRIMARY[kind]
        return given


class _PrimaryOf:
    """Asks the Sentinels for the address of the primary they call ``name``.

    One question at a time, whoever connects: redis-py moves the Sentinel that knew to the front of
    its list, and two of its questions at once would lose one of the others.
    """

    def __init__(self, sentinel: Sentinel, name: str):
        self._sentinel, self._name = sentinel, name
        self._questions: Coalescer[str, tuple[str, int]] = Coalescer()

    async def __call__(self) -> tuple[str, int]:
        return await self._questions.run(self._name, self._ask)

    async def _ask(self) -> tuple[str, int]:
        host, port = await self._sentinel.discover_master(self._name)
        return str(host), int(port)


def _tls_options(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name.startswith("ssl_")}


def _require_files(given: Mapping[str, Any]) -> None:
    """What TLS reads must be there; at a connection it would seem that nobody answers."""
    for option in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if option in given and not os.access(given[option], os.R_OK):
            raise ConfigError(f"{_SETTING}: the file of {option} is not there or cannot be read")


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("host")
    return parts.hostname, parts.port or SENTINEL_PORT
