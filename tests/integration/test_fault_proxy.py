"""What the fault proxy does to real connections."""

from __future__ import annotations

import asyncio
import time

import pytest

from loadtest.proxy.client import FaultProxy
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.toxics import Toxic
from tests.support.proxied import Peer, proxied
from tests.support.servers import free_port, serving

GUARD_S = 20.0  # against waiting for ever; nothing here is meant to take that long


async def quickest(peer: Peer) -> float:
    """The least of a few round trips: what a busy machine adds to one, it does not to all."""
    return min([await peer.round_trip() for _ in range(5)])


async def test_bytes_pass_unchanged_both_ways() -> None:
    async with proxied() as (_, port):
        peer = await Peer.connect(port)
        blob = bytes(range(1, 10)) * 3000 + b"\xff"
        big = (blob.replace(b"\n", b"x") + b"\n") * 1
        peer.writer.write(big)
        assert await asyncio.wait_for(peer.reader.readexactly(len(big)), GUARD_S) == big
        # An end of stream passes too.
        peer.writer.write_eof()
        assert await asyncio.wait_for(peer.reader.read(), GUARD_S) == b""
        peer.close()


async def test_disabling_cuts_and_refuses_and_enabling_restores_the_same_port() -> None:
    async with proxied() as (client, port):
        peer = await Peer.connect(port)
        await peer.round_trip()
        await client.enable("echo", False)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(peer.round_trip(), GUARD_S)
        with pytest.raises(ConnectionError):
            await Peer.connect(port)
        assert not (await client.proxies())["echo"].enabled
        await client.enable("echo", True)
        again = await Peer.connect(port)
        await again.round_trip()
        again.close()
        peer.close()


async def test_latency_holds_back_what_is_under_way_and_ends_with_the_toxic() -> None:
    async with proxied() as (client, port):
        peer = await Peer.connect(port)
        assert await quickest(peer) < 0.1
        slow = Toxic(type="latency", attributes={"latency": 300, "jitter": 50})
        await client.add("echo", slow)
        assert 0.24 < await quickest(peer) < 0.6
        await client.add(
            "echo", Toxic(type="latency", stream="upstream", attributes={"latency": 5000})
        )
        waiting = asyncio.create_task(peer.round_trip())
        await asyncio.sleep(0.1)
        await client.reset()
        assert await asyncio.wait_for(waiting, GUARD_S) < 4.0
        assert await quickest(peer) < 0.1
        peer.close()


async def test_bandwidth_paces_the_bytes() -> None:
    async with proxied() as (client, port):
        peer = await Peer.connect(port)
        await client.add("echo", Toxic(type="bandwidth", attributes={"rate": 100}))
        assert 0.2 < await peer.round_trip(b"x" * 30_000 + b"\n") < 5.0  # 0.3 s if nobody disturbs
        peer.close()


async def test_timeout_swallows_data_and_its_removal_closes() -> None:
    async with proxied() as (client, port):
        peer = await Peer.connect(port)
        await client.add("echo", Toxic(type="timeout", attributes={"timeout": 0}))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(peer.round_trip(), 0.3)
        await client.remove("echo", "timeout_downstream")
        assert await asyncio.wait_for(peer.reader.read(), GUARD_S) == b""
        peer.close()
        await client.add("echo", Toxic(type="timeout", attributes={"timeout": 200}))
        peer = await Peer.connect(port)
        started = time.perf_counter()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(peer.round_trip(), GUARD_S)
        assert time.perf_counter() - started > 0.15
        peer.close()


async def test_reset_peer_resets_at_the_first_data() -> None:
    async with proxied() as (client, port):
        peer = await Peer.connect(port)
        await client.add("echo", Toxic(type="reset_peer", attributes={"timeout": 0}))
        with pytest.raises(ConnectionResetError, match=r"[Rr]eset by peer"):
            await asyncio.wait_for(peer.round_trip(), GUARD_S)
        peer.close()


async def test_toxicity_hits_its_share_of_connections() -> None:
    async with proxied(seed=3) as (client, port):
        await client.add("echo", Toxic(type="reset_peer", toxicity=0.3))
        lost = 0
        for _ in range(200):
            peer = await Peer.connect(port)
            try:
                await asyncio.wait_for(peer.round_trip(), GUARD_S)
            except ConnectionError:
                lost += 1
            peer.close()
    assert 40 <= lost <= 80  # 60 expected, three standard deviations


async def test_memory_stays_bounded_against_a_reader_that_stops() -> None:
    async with proxied() as (client, port):
        await client.add("echo", Toxic(type="bandwidth", attributes={"rate": 0}))
        peer = await Peer.connect(port)
        sent = 0

        async def send() -> None:
            nonlocal sent
            while sent < 200_000_000:
                peer.writer.write(b"x" * 65_535 + b"\n")
                await peer.writer.drain()
                sent += 65_536

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send(), 2)
        # Socket buffers and a few held chunks; the sender was made to wait.
        assert sent < 40_000_000
        peer.close()


async def test_an_upstream_that_is_not_there_closes_the_connection() -> None:
    async with serving(control_app(Switchboard())) as url, FaultProxy(url) as client:
        spec = await client.create(
            "gone", upstream=f"127.0.0.1:{free_port()}", listen="127.0.0.1:0"
        )
        peer = await Peer.connect(int(spec.listen.rpartition(":")[2]))
        assert await asyncio.wait_for(peer.reader.read(), GUARD_S) == b""
        peer.close()
