"""A real Redis in each condition that the store tells apart, by name."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest
from redis.exceptions import RedisError

from launch.ports import LOOPBACK, free_port
from tests.support.redis_nodes import RedisNode, primary_and_replica, sentinel_of, until

Urls = AsyncIterator[str]


@asynccontextmanager
async def unreachable(_: Path) -> Urls:
    yield f"redis://{LOOPBACK}:{free_port()}/0"


@asynccontextmanager
async def timeout(folder: Path) -> Urls:
    async with RedisNode(folder) as node:
        pid = node.process.pids[0]
        os.kill(pid, signal.SIGSTOP)
        yield node.url
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def tls(folder: Path) -> Urls:
    """A server with a certificate that nobody has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes a certificate with openssl")
    folder.mkdir()
    made = await asyncio.create_subprocess_exec(
        openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=redis",
        "-keyout", folder / "key", "-out", folder / "cert", stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await made.wait() == 0
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert", folder / "key")

    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(never, LOOPBACK, 0, ssl=context) as server:
        yield f"rediss://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/0"


@asynccontextmanager
async def not_redis(_: Path) -> Urls:
    async def web_page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(web_page, LOOPBACK, 0) as server:
        yield f"redis://{LOOPBACK}:{server.sockets[0].getsockname()[1]}/0"


@asynccontextmanager
async def no_primary(folder: Path) -> Urls:
    """The primary is down, and no replica is there to take its place."""
    async with RedisNode(folder / "node") as node:
        directives = sentinel_of(node)
        async with RedisNode(folder / "sentinel", *directives, sentinel=True) as sentinel:
            node.process.kill()

            async def seen_down() -> bool:
                async with sentinel.client() as client:
                    return bool((await client.sentinel_master("snapshots"))["is_sdown"])  # type: ignore[misc]

            await until(seen_down)
            yield f"redis+sentinel://{LOOPBACK}:{sentinel.port}/snapshots/0"


@asynccontextmanager
async def read_only(folder: Path) -> Urls:
    async with primary_and_replica(folder) as (_, replica):
        yield replica.url


@asynccontextmanager
async def loading(folder: Path) -> Urls:
    async with RedisNode(folder / "node") as node:
        await node.do("CONFIG", "SET", "rdbcompression", "no")
        fill = "for n = 1, 4000 do redis.call('SET', 'filler' .. n, string.rep('x', 20000)) end"
        await node.do("EVAL", fill, 0)
        await node.do("SAVE")
    # It answers every 2 MB of what it reads, which are a hundred keys.
    async with RedisNode(folder / "node", "key-load-delay 1000", answers="loading") as node:
        yield node.url
        node.process.kill()


@asynccontextmanager
async def primary_down(folder: Path) -> Urls:
    gone = f"replicaof {LOOPBACK} {free_port()}"
    only_fresh = "replica-serve-stale-data no"
    async with RedisNode(folder, gone, only_fresh, answers="PONG|Link with MASTER is down") as node:
        yield node.url


@asynccontextmanager
async def cluster_down(folder: Path) -> Urls:
    async with RedisNode(folder, "cluster-enabled yes") as node:
        yield node.url


@asynccontextmanager
async def cluster_node(folder: Path) -> Urls:
    """One of two nodes, the first half of the slots on it."""
    async with (
        RedisNode(folder / "one", "cluster-enabled yes") as one,
        RedisNode(folder / "two", "cluster-enabled yes") as two,
    ):
        await one.do("CLUSTER", "ADDSLOTS", *range(8192))
        await two.do("CLUSTER", "ADDSLOTS", *range(8192, 16384))
        await two.do("CONFIG", "SET", "cluster-require-full-coverage", "no")
        await one.do("CLUSTER", "MEET", LOOPBACK, two.port)

        async def joined() -> bool:
            info = await one.do("CLUSTER", "INFO")
            return "cluster_state:ok" in str(info) or "'cluster_state': 'ok'" in str(info)

        await until(joined)
        yield one.url


@asynccontextmanager
async def too_few_replicas(folder: Path) -> Urls:
    async with RedisNode(folder, "min-replicas-to-write 1") as node:
        yield node.url


@asynccontextmanager
async def memory_full(folder: Path) -> Urls:
    async with RedisNode(folder, "maxmemory-policy noeviction") as node:
        await node.do("CONFIG", "SET", "maxmemory", 1)
        yield node.url


@asynccontextmanager
async def not_persisting(folder: Path) -> Urls:
    gone = folder / "gone"
    gone.mkdir(parents=True)
    async with RedisNode(folder, f'dir "{gone}"', "save 3600 1") as node:
        shutil.rmtree(gone)
        await node.do("BGSAVE")

        async def failed() -> bool:
            async with node.client() as client:
                return (await client.info("persistence"))["rdb_last_bgsave_status"] == "err"

        await until(failed)
        yield node.url


@asynccontextmanager
async def too_many_clients(folder: Path) -> Urls:
    async with RedisNode(folder) as node, node.client() as only:
        await only.config_set("maxclients", 1)
        yield node.url


@asynccontextmanager
async def busy(folder: Path) -> Urls:
    async with RedisNode(folder, "lua-time-limit 50") as node:
        endless = asyncio.create_task(node.do("EVAL", "while true do end", 0))

        async def at_it() -> bool:
            try:
                await node.do("PING")
            except RedisError as error:
                return "BUSY" in str(error)
            return False

        await until(at_it)
        yield node.url
        await node.do("SCRIPT", "KILL")
        await asyncio.wait({endless})
        endless.exception()


@asynccontextmanager
async def password_missing(folder: Path) -> Urls:
    async with RedisNode(folder, "requirepass right", answers="Authentication required") as node:
        yield node.url


@asynccontextmanager
async def password_wrong(folder: Path) -> Urls:
    async with RedisNode(folder, "requirepass right", answers="Authentication required") as node:
        yield node.url.replace("://", "://:wrong@")


@asynccontextmanager
async def password_needless(folder: Path) -> Urls:
    async with RedisNode(folder) as node:
        yield node.url.replace("://", "://nobody:wrong@")


def with_rules(rules: str) -> Callable[[Path], AbstractAsyncContextManager[str]]:
    """A server whose user ``service`` has these rules."""

    @asynccontextmanager
    async def permission(folder: Path) -> Urls:
        async with RedisNode(folder, f"user service on nopass {rules}") as node:
            yield node.url.replace("://", "://service:any@")

    return permission


@asynccontextmanager
async def renamed(folder: Path) -> Urls:
    hidden = ('rename-command EVAL ""', 'rename-command EVALSHA ""')
    async with RedisNode(folder, *hidden) as node:
        yield node.url


@asynccontextmanager
async def database(folder: Path) -> Urls:
    async with RedisNode(folder) as node:
        yield node.url.removesuffix("/0") + "/99"


# Each condition at least once; after the colon how it came about.
CONDITIONS: Mapping[str, Callable[[Path], AbstractAsyncContextManager[str]]] = MappingProxyType(
    {
        "unreachable": unreachable,
        "timeout": timeout,
        "tls": tls,
        "not_redis": not_redis,
        "no_primary": no_primary,
        "read_only": read_only,
        "loading": loading,
        "primary_down": primary_down,
        "cluster_down": cluster_down,
        "cluster_node": cluster_node,
        "too_few_replicas": too_few_replicas,
        "memory_full": memory_full,
        "not_persisting": not_persisting,
        "too_many_clients": too_many_clients,
        "busy": busy,
        "password:missing": password_missing,
        "password:wrong": password_wrong,
        "password:needless": password_needless,
        "permission:no scripts": with_rules("~* +@all -eval -evalsha"),
        "permission:no removal": with_rules("~* +@all -del"),
        "permission:no writing": with_rules("~* +@all -set"),
        "permission:no reading": with_rules("~* +@all -get"),
        "permission:other keys": with_rules("~other:* +@all"),
        "permission:renamed": renamed,
        "database": database,
    }
)
