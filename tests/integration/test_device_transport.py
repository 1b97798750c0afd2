"""HttpTransport and CloudLink over real sockets: refusals, cuts, blocked name look-ups, outages."""

import asyncio
import gzip
import socket
import ssl
import threading
import time
from contextlib import asynccontextmanager
from random import Random

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from device_runtime.cloud.breaker import BreakerState
from device_runtime.cloud.link import CloudLink, RefreshFailed
from device_runtime.cloud.transport import AsgiTransport, HttpTransport, TransportError
from device_runtime.settings import LinkSettings
from shared.errors import ConfigError
from shared.snapshot import MAX_BLOB_BYTES
from tests.support.servers import free_port, serving


async def echo(request: Request) -> Response:
    body = await request.body()
    return Response(body[::-1], 201, headers={"X-Path": request.url.path})


async def endless(request: Request) -> Response:
    return Response(b"x" * (MAX_BLOB_BYTES + 1))


APP = Starlette(
    routes=[Route("/echo", echo, methods=["POST"]), Route("/endless", endless, methods=["POST"])]
)


def post(transport, path="/echo", content=b"abc", timeout_s=5.0):
    return transport.request("POST", path, headers={}, content=content, timeout_s=timeout_s)


async def refresh(link):
    return await link.refresh("ann", "likes drama", 3, "b" * 16)


@asynccontextmanager
async def raw_server(handle):
    """A TCP server whose ``handle`` misbehaves as it likes; all its connections end with it."""
    running = set()

    async def accept(reader, writer):
        running.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0)  # lets aborted transports close


@pytest.mark.parametrize("kind", ["http", "asgi"])
async def test_status_headers_and_body_come_through(kind):
    async with serving(APP) as url:
        transport = HttpTransport(url) if kind == "http" else AsgiTransport(APP)
        response = await post(transport)
        assert (response.status, response.content) == (201, b"cba")
        assert response.headers["x-path"] == "/echo"
        await transport.rebuild()
        assert (await post(transport)).status == 201
        await transport.aclose()


@pytest.mark.parametrize("url", ["", "http://[::1", "http://", "127.0.0.1:8080", "ftp://cloud"])
def test_an_address_that_cannot_be_one_is_refused_at_once(url):
    with pytest.raises(ConfigError, match="the cloud's URL"):
        HttpTransport(url)


@pytest.mark.parametrize(
    ("url", "contexts"), [("http://127.0.0.1:9", 0), ("https://127.0.0.1:9", 1)]
)
async def test_root_certificates_are_read_once_and_only_for_tls(url, contexts, monkeypatch):
    loaded, real = [], ssl.SSLContext.load_verify_locations

    def load(context, *args, **kwargs):
        loaded.append(context)
        return real(context, *args, **kwargs)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    transport = HttpTransport(url)
    for _ in range(3):
        await transport.rebuild()
    await transport.aclose()
    assert len(set(loaded)) == contexts
    if contexts:
        (context,) = set(loaded)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert transport._tls is context


async def test_an_answer_without_bound_is_cut_off():
    async with serving(APP) as url:
        transport = HttpTransport(url)
        with pytest.raises(TransportError, match="larger than"):
            await post(transport, "/endless")
        assert (await post(transport)).status == 201, "the pool is still usable"
        await transport.aclose()


async def test_a_packed_answer_is_never_unpacked():
    """Some hundred bytes, packed twice, would be gigabytes before anybody could count them."""
    asked = b""
    bomb = gzip.compress(gzip.compress(bytes(64 << 20)))

    async def handle(reader, writer):
        nonlocal asked
        asked = await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip, gzip\r\nContent-Length: {len(bomb)}"
        writer.write(f"{head}\r\n\r\n".encode() + bomb)
        await writer.drain()
        await reader.read()

    async with raw_server(handle) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        with pytest.raises(TransportError, match="is packed"):
            await post(transport, content=b"")
        await transport.aclose()
    assert b"accept-encoding: identity" in asked.lower()


async def test_nobody_listening_is_a_network_failure():
    transport = HttpTransport(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(TransportError, match="ConnectError"):
        await post(transport)
    await transport.aclose()


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", b"\x00\xff nonsense\r\n\r\n"],
)
async def test_a_connection_cut_at_any_point_is_a_network_failure(said):
    async def handle(reader, writer):
        await reader.read(65536)
        writer.write(said)
        writer.close()

    async with raw_server(handle) as port:
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        with pytest.raises(TransportError):
            await post(transport)
        await transport.aclose()


async def test_proxies_from_the_environment_are_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_port()}")
    async with serving(APP) as url:
        transport = HttpTransport(url)
        assert (await post(transport)).status == 201
        await transport.aclose()


async def test_the_deadline_holds_while_the_cloud_says_nothing():
    async def handle(reader, writer):
        await asyncio.sleep(30)

    async with raw_server(handle) as port:
        link = CloudLink(HttpTransport(f"http://127.0.0.1:{port}"), LinkSettings(deadline_s=0.3))
        started = time.monotonic()
        with pytest.raises(RefreshFailed) as failure:
            await refresh(link)
        assert failure.value.reason == "deadline"
        assert 0.25 < time.monotonic() - started < 1.5
        await link.aclose()


async def test_the_deadline_holds_while_a_drip_keeps_the_connection_alive():
    """Every read is quick, so no timeout between bytes ever fires: only the overall one does."""

    async def handle(reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async with raw_server(handle) as port:
        link = CloudLink(HttpTransport(f"http://127.0.0.1:{port}"), LinkSettings(deadline_s=0.4))
        started = time.monotonic()
        with pytest.raises(RefreshFailed) as failure:
            await refresh(link)
        assert failure.value.reason == "deadline"
        assert time.monotonic() - started < 1.5
        await link.aclose()


async def test_the_deadline_holds_while_a_name_look_up_blocks_its_thread(monkeypatch):
    """A cut-off machine's resolver blocks for seconds in a thread that nothing can cancel."""
    blocked, release = threading.Event(), threading.Event()

    def look_up(*args, **kwargs):
        blocked.set()
        release.wait(20.0)
        raise socket.gaierror("gave up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    link = CloudLink(HttpTransport("http://cloud.invalid:9"), LinkSettings(deadline_s=0.3))
    try:
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(RefreshFailed) as failure:
                await refresh(link)
            assert failure.value.reason == "deadline"
            assert time.monotonic() - started < 1.5
        assert blocked.is_set(), "the look-up was reached"
    finally:
        release.set()
        await link.aclose()


async def test_an_outage_is_survived_and_the_pool_rebuilt():
    settings = LinkSettings(
        deadline_s=0.5, attempts=1, breaker_failures=2, breaker_open_s=0.2, retry_budget=0
    )

    async def snapshot(request: Request) -> Response:
        return Response(b"blob", headers={"Age": "0"})

    app = Starlette(routes=[Route("/v1/users/{user}/snapshot", snapshot, methods=["POST"])])
    port = free_port()
    transport = HttpTransport(f"http://127.0.0.1:{port}", max_connections=2)
    link = CloudLink(transport, settings, rng=Random(0))
    outcomes = []

    async def attempt():
        try:
            outcomes.append((await refresh(link)).outcome)
        except RefreshFailed as failure:
            outcomes.append(failure.reason)

    async with serving(app, port=port):
        await attempt()
        before = transport._client
    for _ in range(3):
        await attempt()
    assert outcomes == ["fresh", "network", "network", "breaker"]
    assert link.breaker_state is BreakerState.OPEN
    async with serving(app, port=port):
        await asyncio.sleep(0.25)
        assert link.breaker_state is BreakerState.HALF_OPEN
        await attempt()
        assert outcomes[-1] == "fresh"
        assert link.breaker_state is BreakerState.CLOSED
        assert transport._client is not before
        assert before.is_closed
    await link.aclose()


async def test_many_cancelled_refreshes_do_not_use_up_the_pool():
    slow = asyncio.Event()

    async def snapshot(request: Request) -> Response:
        await slow.wait()
        return Response(b"blob")

    app = Starlette(routes=[Route("/v1/users/{user}/snapshot", snapshot, methods=["POST"])])
    async with serving(app) as url:
        link = CloudLink(HttpTransport(url, max_connections=2), LinkSettings(deadline_s=5.0))
        # Cancelled at every suspension on the way, alone and while others wait for a connection.
        for others in (0, 3):
            for suspensions in range(60):
                tasks = [asyncio.create_task(refresh(link)) for _ in range(1 + others)]
                for _ in range(suspensions):
                    await asyncio.sleep(0)
                for task in tasks:
                    task.cancel()
                ended = await asyncio.gather(*tasks, return_exceptions=True)
                assert all(isinstance(end, asyncio.CancelledError) for end in ended)
        slow.set()
        results = await asyncio.gather(*(refresh(link) for _ in range(6)))
        assert [r.outcome for r in results] == ["fresh"] * 6
        await link.aclose()
