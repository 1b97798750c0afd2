"""Faults of requests rather than of connections: shares, bytes, and toxics that come and go."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from launch.redis_server import RedisServer
from loadtest.faults.driver import PROXIES, STAND_INS, LinkFaults
from loadtest.faults.fault import POSSIBLE, Fault
from loadtest.proxy.client import FaultProxy
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.toxics import Toxic
from scalrec.jobs.scenario_run import DEVICE_ONLY
from scalrec.stack.process_faults import ProcessFaults
from tests.support.servers import serving
from tests.support.tiers import first_quick

REQUESTS = 2_000
CONNECTIONS = 8
GUARD_S = 20.0
BODY = b"x" * 3000


class Upstream:
    """A real HTTP server that counts what reaches it."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections: set[object] = set()

    def app(self) -> Starlette:
        async def echo(request: Request) -> Response:
            self.requests += 1
            self.connections.add(request.client)
            return Response(await request.body())

        return Starlette(routes=[Route("/", echo, methods=["GET", "POST"])])


@asynccontextmanager
async def between(seed: int = 0) -> AsyncIterator[tuple[FaultProxy, str, Upstream]]:
    """A client of the control API, the address of its proxy ``web``, the server behind it."""
    upstream = Upstream()
    async with (
        serving(upstream.app()) as direct,
        serving(control_app(Switchboard(seed=seed))) as control,
        FaultProxy(control) as proxy,
    ):
        spec = await proxy.create(
            "web", upstream=direct.removeprefix("http://"), listen="127.0.0.1:0"
        )
        yield proxy, f"http://{spec.listen}", upstream


def pool(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return httpx.AsyncClient(base_url=url, limits=limits, timeout=GUARD_S, trust_env=False)


async def failures(http: httpx.AsyncClient, count: int) -> tuple[int, int]:
    """How many of ``count`` requests were answered 503, and how many not at all."""
    refused = lost = 0

    async def ask(number: int) -> None:
        nonlocal refused, lost
        for _ in range(number):
            try:
                answer = await http.post("/", content=BODY)
            except httpx.TransportError:
                lost += 1
                continue
            if answer.status_code == 503:
                refused += 1
                assert answer.headers["retry-after"] == "1"
            else:
                assert answer.content == BODY

    await asyncio.gather(*(ask(count // CONNECTIONS) for _ in range(CONNECTIONS)))
    return refused, lost


def within(found: int, share: float) -> bool:
    """Whether ``found`` of REQUESTS is within four standard deviations of ``share``."""
    return abs(found - share * REQUESTS) < 4 * math.sqrt(REQUESTS * share * (1 - share))


@pytest.mark.parametrize("share", first_quick([0.3, 0.05]))
async def test_a_share_of_requests_fails_over_connections_that_are_kept(share: float) -> None:
    async with between(seed=3) as (proxy, url, upstream), pool(url) as http:
        assert await failures(http, CONNECTIONS * 2) == (0, 0)  # before: the pool is warm
        before = len(upstream.connections)
        await proxy.add("web", Toxic(type="http_fail", toxicity=share, attributes={"status": 503}))
        refused, lost = await failures(http, REQUESTS)
        assert lost == 0
        assert within(refused, share), refused
        # The same connections carried them all, and what was refused never reached the server.
        assert len(upstream.connections) == before <= CONNECTIONS
        assert upstream.requests == CONNECTIONS * 2 + REQUESTS - refused
        await proxy.remove("web", "http_fail_upstream")
        assert await failures(http, CONNECTIONS * 20) == (0, 0)


@pytest.mark.slow
async def test_a_share_of_requests_is_reset() -> None:
    async with between(seed=4) as (proxy, url, _), pool(url) as http:
        await proxy.add("web", Toxic(type="http_fail", toxicity=0.3))
        refused, lost = await failures(http, REQUESTS)
    assert refused == 0
    assert within(lost, 0.3), lost


async def test_a_share_of_requests_is_late() -> None:
    async with between(seed=5) as (proxy, url, _), pool(url) as http:
        await http.get("/")
        late = Toxic(type="http_delay", toxicity=0.5, attributes={"latency": 150, "jitter": 20})
        await proxy.add("web", late)
        loop = asyncio.get_running_loop()
        slow = 0
        for _ in range(40):
            started = loop.time()
            assert (await http.post("/", content=BODY)).content == BODY
            slow += loop.time() - started > 0.12
    assert 8 <= slow <= 32  # 20 expected, four standard deviations


@pytest.mark.parametrize("kind", ["http_fail", "reset_peer", "timeout", "latency", "bandwidth"])
async def test_toxicity_zero_does_nothing_and_its_removal_neither(kind: str) -> None:
    async with between() as (proxy, url, upstream), pool(url) as http:
        toxic = Toxic.model_validate({"type": kind, "toxicity": 0, "attributes": {
            "latency": {"latency": 60_000}}.get(kind, {})})  # fmt: skip
        assert toxic.toxicity == 0
        for _ in range(3):
            await proxy.add("web", toxic)
            assert await failures(http, CONNECTIONS) == (0, 0)
            await proxy.remove("web", toxic.name)
            assert await failures(http, CONNECTIONS) == (0, 0)
        assert len(upstream.connections) <= CONNECTIONS


async def test_toxics_that_come_and_go_under_load_wedge_neither_connections_nor_the_api() -> None:
    """Every kind, on both streams, while requests are under way; then all is as before."""
    kinds: list[dict[str, object]] = [
        {"type": "latency", "attributes": {"latency": 60_000}},
        {"type": "bandwidth", "attributes": {"rate": 0}},
        {"type": "bandwidth", "attributes": {"rate": 1}},
        {"type": "timeout", "attributes": {"timeout": 0}},
        {"type": "timeout", "attributes": {"timeout": 60_000}},
        {"type": "reset_peer", "attributes": {"timeout": 60_000}},
        {"type": "http_fail", "attributes": {"status": 503}},
        {"type": "http_fail"},
        {"type": "http_delay", "attributes": {"latency": 60_000}},
    ]
    async with between() as (proxy, url, _), pool(url) as http:
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                try:
                    await http.post("/", content=BODY * 20)
                except httpx.TransportError:
                    await asyncio.sleep(0)

        asking = [asyncio.create_task(ask()) for _ in range(CONNECTIONS)]
        async with asyncio.timeout(3 * GUARD_S):
            for place, fields in enumerate([*kinds, *kinds]):
                streams = ["upstream"]
                if not str(fields["type"]).startswith("http_"):
                    streams.append("downstream")
                for stream in streams:
                    toxic = Toxic.model_validate({"name": f"t{place}", "stream": stream, **fields})
                    await proxy.add("web", toxic)
                    other = Toxic(name="beside", type="latency", attributes={"latency": 20})
                    await proxy.add("web", other)
                    await asyncio.sleep(0.03)
                    await proxy.remove("web", toxic.name)
                    await proxy.remove("web", "beside")
            stop.set()
            await asyncio.gather(*asking)
            assert await failures(http, CONNECTIONS * 3) == (0, 0)


async def test_removing_a_reset_while_a_chunk_is_held_back_resets_nothing() -> None:
    async with between() as (proxy, url, _), pool(url) as http:
        await http.get("/")
        await proxy.add(
            "web", Toxic(type="latency", stream="upstream", attributes={"latency": 500})
        )
        await proxy.add("web", Toxic(type="reset_peer", stream="upstream"))
        asking = asyncio.create_task(http.post("/", content=BODY))
        await asyncio.sleep(0.1)
        await proxy.remove("web", "reset_peer_upstream")
        assert (await asyncio.wait_for(asking, GUARD_S)).content == BODY


async def test_what_is_no_http_passes_unread_and_at_once() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        serving(control_app(Switchboard())) as control,
        FaultProxy(control) as proxy,
    ):
        spec = await proxy.create("raw", upstream=f"127.0.0.1:{port}", listen="127.0.0.1:0")
        await proxy.add("raw", Toxic(type="http_fail", attributes={"status": 503}))
        for said in (b"*1\r\n$4\r\nPING\r\n", b"PING\r\n", b"GET key\r\n", b"\x16\x03\x01", b"a"):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", int(spec.listen.rpartition(":")[2])
            )
            for _ in range(2):
                writer.write(said)
                assert await asyncio.wait_for(reader.readexactly(len(said)), GUARD_S) == said
            writer.close()
    server.close()


async def test_a_server_that_hangs_on_posts_looks_healthy_until_it_is_let_go() -> None:
    async with between() as (proxy, url, upstream), pool(url) as http:
        await proxy.add("web", Toxic(type="http_hang", attributes={"posts": 1}))
        asking = asyncio.create_task(http.post("/", content=BODY))
        for _ in range(3):
            assert (await http.get("/")).status_code == 200
        assert not asking.done()
        assert upstream.requests == 3
        await proxy.remove("web", "http_hang_upstream")
        with pytest.raises(httpx.TransportError):
            await asyncio.wait_for(asking, GUARD_S)
        assert (await http.post("/", content=BODY)).content == BODY


HOW = {"slow": {"latency_s": 0.1}, "errors": {"share": 0.5}, "nan": {"share": 0.5}}
ON_LINKS = [
    Fault.model_validate({"target": target, "kind": kind, "at_s": 1, "for_s": 1,
                          **HOW.get(kind, {}), **more})
    for target, kinds in POSSIBLE.items()
    if target in (*PROXIES, *STAND_INS)
    for kind in kinds
    if kind not in ("failover", "rolling", "silent")
    for more in ({}, {"share": 0.5})
    if not (more and (kind != "slow" or target == "redis-link"))
]  # fmt: skip


@pytest.mark.parametrize("fault", ON_LINKS, ids=lambda fault: f"{fault.words}, {fault.share:g}")
async def test_every_fault_of_a_link_begins_and_ends_without_a_trace(fault: Fault) -> None:
    async with between() as (proxy, _, _):
        links = LinkFaults(proxy, dict.fromkeys(PROXIES, ("web",)), replicas=2)
        assert links.can(fault)
        await links.begin(fault)
        there = (await proxy.proxies())["web"]
        assert there.toxics or not there.enabled
        await links.end(fault)
        there = (await proxy.proxies())["web"]
        assert there.enabled
        assert there.toxics == ()


def test_a_kind_is_done_on_sockets_by_somebody() -> None:
    links = LinkFaults(FaultProxy("http://127.0.0.1:1"))
    redis = RedisServer(Path("unused"))
    processes = ProcessFaults(redis, {}, FaultProxy("http://127.0.0.1:2"), Path("unused"))
    fields = {"slow": {"latency_s": 1}, "step": {"step_s": 1}}
    for target, kinds in POSSIBLE.items():
        for kind in kinds:
            fault = Fault.model_validate(
                {"target": target, "kind": kind, "at_s": 1, "for_s": 1, **fields.get(kind, {})}
            )
            on_the_device = target in DEVICE_ONLY
            assert on_the_device or links.can(fault) or processes.can(fault), fault.words
