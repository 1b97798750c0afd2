"""Redis servers in any condition: real processes with directives of the test's, and a forwarder."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from launch.ports import LOOPBACK, free_port
from launch.process import ChildProcess
from launch.redis_server import find_redis_server

KEYS = "scalrec:*"


class RedisNode:
    """One redis-server (or Sentinel) whose configuration is ``directives``; without a password.

    Args:
        answers: pattern of the answer to PING, or of its error, that says it is up.
    """

    def __init__(
        self,
        folder: Path,
        *directives: str,
        port: int | None = None,
        sentinel: bool = False,
        answers: str = "PONG",
    ):
        self.port = port or free_port()
        self._folder, self._directives = folder, directives
        self._sentinel, self._answers = sentinel, answers
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "redis.conf"
        self.process = ChildProcess(
            folder.name,
            [str(find_redis_server()), str(config), *(["--sentinel"] if sentinel else [])],
            log=folder / "redis.log",
            grace_s=2,
        )

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def client(self, **options: object) -> redis.Redis:
        once = Retry(NoBackoff(), retries=0)
        return redis.Redis(host=LOOPBACK, port=self.port, protocol=2, retry=once, **options)  # type: ignore[arg-type]

    async def do(self, *command: str | bytes | int) -> object:
        """One command on a connection of its own."""
        async with self.client() as client:
            return await client.execute_command(*command)

    async def start(self) -> None:
        plain = () if self._sentinel else ('save ""', "appendonly no", "repl-diskless-sync-delay 0")
        lines = [f"bind {LOOPBACK}", f"port {self.port}", f'dir "{self._folder}"',
                 "daemonize no", *plain, *self._directives]  # fmt: skip
        (self._folder / "redis.conf").write_text("\n".join(lines) + "\n")
        self.process.start()
        try:
            await self.process.wait_ready(self._probe, 20.0)
        except BaseException:
            await self.process.stop()
            raise

    async def _probe(self) -> str | None:
        try:
            answer = "PONG" if await self.do("PING") is True else ""
        except (RedisError, OSError) as error:
            answer = str(error)
        return None if re.search(self._answers, answer) else answer

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.process.stop()


class Forwarder:
    """A fixed address that leads to a Redis that can be changed, as managed services' names do.

    Connections that exist stay with the server they were made to, unless ``cut`` ends them.
    """

    def __init__(self, port: int):
        self.target = port
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, to_upstream = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, to_upstream}
        for source, sink in ((reader, to_upstream), (upstream, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while chunk := await source.read(65536):
                    sink.write(chunk)
                    await sink.drain()
        finally:
            self._open.discard(sink)
            sink.close()


@asynccontextmanager
async def primary_and_replica(folder: Path) -> AsyncIterator[tuple[RedisNode, RedisNode]]:
    """Two servers, the second a replica that has all of the first."""
    async with RedisNode(folder / "first") as first:
        replicaof = f"replicaof {LOOPBACK} {first.port}"
        async with RedisNode(folder / "second", replicaof) as second:
            await until_linked(second)
            yield first, second


async def until(holds: Callable[[], Awaitable[bool]], within_s: float = 30.0) -> None:
    """Return once it holds; a server in a process of its own tells nobody when."""
    async with asyncio.timeout(within_s):
        while not await holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def until_linked(replica: RedisNode) -> None:
    """Return once the replica follows its primary."""

    async def linked() -> bool:
        return (await client.info("replication")).get("master_link_status") == "up"

    async with replica.client() as client:
        await until(linked)


async def keys_without_ttl(client: redis.Redis, pattern: str = KEYS) -> list[str]:
    """Keys of ours that would stay for ever."""
    keys = [key async for key in client.scan_iter(pattern)]
    return [key.decode() for key in keys if await client.pttl(key) == -1]


def sentinel_of(primary: RedisNode, name: str = "snapshots", quorum: int = 1) -> Sequence[str]:
    """Directives of a Sentinel that watches ``primary``."""
    assert re.fullmatch(r"\w+", name)
    return (
        f"sentinel monitor {name} {LOOPBACK} {primary.port} {quorum}",
        f"sentinel down-after-milliseconds {name} 300",
        f"sentinel failover-timeout {name} 3000",
    )
