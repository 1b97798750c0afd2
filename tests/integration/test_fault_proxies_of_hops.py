"""Several fault proxies, one a hop, poisoned as if they were one; on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import uvicorn

from launch.ports import LOOPBACK, claim_port
from loadtest.proxy.client import FaultProxy
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.hops import FaultProxies
from loadtest.proxy.toxics import ProxySpec, Toxic
from shared.errors import ConfigError

TOKEN = "shown-to-every-hop"


@asynccontextmanager
async def hops(*names: str) -> AsyncIterator[tuple[FaultProxies, Sequence[FaultProxy]]]:
    """A control API for each name, with one proxy of that name; together, and one by one."""
    async with AsyncExitStack() as stack:
        controls = []
        for name in names:
            board = Switchboard()
            spec = ProxySpec(name=name, listen=f"{LOOPBACK}:0", upstream=f"{LOOPBACK}:9")
            await board.create(spec)
            port = claim_port(0, LOOPBACK)
            config = uvicorn.Config(
                control_app(board, token=TOKEN),
                host=LOOPBACK,
                port=port,
                log_level="warning",
                ws="none",
            )
            server = uvicorn.Server(config)
            running = asyncio.create_task(server.serve())
            stack.push_async_callback(_ended, server, running)
            async with asyncio.timeout(10):
                while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
                    await asyncio.sleep(0.01)
            controls.append(FaultProxy(f"http://{LOOPBACK}:{port}", TOKEN))
        yield await stack.enter_async_context(FaultProxies(controls)), controls


async def _ended(server: uvicorn.Server, running: asyncio.Task[None]) -> None:
    server.should_exit = True
    await running


async def test_a_call_goes_to_the_hop_whose_proxy_it_names_and_reset_to_all() -> None:
    async with hops("cloud", "redis") as (together, (cloud, redis)):
        assert (await together.proxies()).keys() == {"cloud", "redis"}

        await together.enable("redis", False)
        await together.add("cloud", Toxic(name="slow", type="latency", attributes={"latency": 5}))
        assert (await cloud.proxies())["cloud"].enabled
        assert not (await redis.proxies())["redis"].enabled
        assert [t.name for t in (await cloud.proxies())["cloud"].toxics] == ["slow"]

        await together.reset()
        assert (await redis.proxies())["redis"].enabled
        assert not (await cloud.proxies())["cloud"].toxics
        with pytest.raises(ConfigError, match="no fault proxy has a proxy 'embedder'"):
            await together.enable("embedder", False)


async def test_a_name_that_two_hops_have_is_refused() -> None:
    async with hops("cloud", "cloud") as (together, (first, second)):
        with pytest.raises(ConfigError, match="'cloud'") as refused:
            await together.proxies()
        assert first.url in str(refused.value)
        assert second.url in str(refused.value)
