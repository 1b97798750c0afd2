"""Peers that say nothing, or too slowly, or do not listen are let go, and nobody waits for them."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from launch.listening.connections import Patience
from launch.ports import free_port
from tests.support.bundles import make_bundle
from tests.support.guarded import RawClient, guarded
from tests.support.runs_of_cli import CliRun
from tests.support.small_run import QUICK

HASTY = Patience(head_s=0.5, body_s=0.5, idle_s=1.0, writing_s=0.5, closing_s=0.5)
POST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 400\r\n\r\n"


async def hello(_: Request) -> Response:
    return PlainTextResponse("hello")


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def early(_: Request) -> Response:
    return Response("no", 401)


async def endless(_: Request) -> Response:
    async def chunks():  # type: ignore[no-untyped-def]
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0)

    return StreamingResponse(chunks())


APP = Starlette(
    routes=[
        Route("/", hello),
        Route("/echo", echo, methods=["POST"]),
        Route("/early", early, methods=["POST"]),
        Route("/endless", endless),
    ]
)


def problem(answer: bytes) -> dict[str, object]:
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


async def test_a_silent_connection_is_closed() -> None:
    async with guarded(APP, patience=HASTY) as (server, port), RawClient(port) as client:
        assert await client.rest() == b""
        assert len(server.connections) == 0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("head", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"y" * 400),
        ("blank lines", b"\r\n" * 200),
        ("body", POST + b"z" * 400),
    ],
)
async def test_a_request_byte_by_byte_is_ended(path: str, text: bytes) -> None:
    async with guarded(APP, patience=HASTY) as (_, port), RawClient(port) as client:
        said, dripped = text.removeprefix(POST), b""
        if said != text:
            client.writer.write(POST)
        dripped = said
        dripping = asyncio.create_task(client.drip(dripped, 0.02))
        started = time.monotonic()
        answer = await client.rest()
        assert time.monotonic() - started < 3
        dripping.cancel()
        if path != "blank lines":
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert problem(answer)["type"] == "urn:scalrec:request-timeout"


async def test_a_body_after_its_answer_is_not_waited_for() -> None:
    async with guarded(APP, patience=HASTY) as (_, port), RawClient(port) as client:
        client.writer.write(POST.replace(b"/echo", b"/early"))
        dripping = asyncio.create_task(client.drip(b"z" * 400, 0.02))
        answer = await client.rest()
        dripping.cancel()
        assert answer.startswith(b"HTTP/1.1 401 ")


async def test_slow_bytes_on_a_kept_connection_count_as_a_head() -> None:
    async with guarded(APP, patience=HASTY) as (_, port), RawClient(port) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"hello" in await client.reader.readuntil(b"hello")
        dripping = asyncio.create_task(client.drip(b"GET / HTTP/1.1\r\nX: " + b"y" * 400, 0.02))
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")
        dripping.cancel()


async def test_a_stop_that_does_not_wait_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_work = asyncio.Event()

    async def busy(_: Request) -> Response:
        at_work.set()
        await asyncio.Event().wait()
        return PlainTextResponse("never")

    app = Starlette(routes=[Route("/", busy)])
    async with (
        guarded(app, timeout_graceful_shutdown=1) as (server, port),
        RawClient(port) as client,
    ):
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await at_work.wait()
        server.stop()
        assert b"never" not in await client.rest()
    assert all(record.exc_info is None for record in caplog.records)


async def test_who_goes_in_the_middle_of_a_body_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with guarded(APP) as (server, port):
        async with RawClient(port) as client:
            client.writer.write(POST + b"z")
            await client.writer.drain()
        async with asyncio.timeout(5):
            while server.server_state.tasks or len(server.connections):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert caplog.records == []


async def test_who_takes_no_answer_is_cut() -> None:
    async with guarded(APP, patience=HASTY) as (server, port), RawClient(port) as client:
        client.writer.write(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reader.readexactly(1)
        async with asyncio.timeout(5):
            while len(server.connections) > 0:  # noqa: ASYNC110 (the server tells nobody)
                await asyncio.sleep(0.01)


async def test_a_new_one_takes_the_place_of_the_longest_silent() -> None:
    async with guarded(APP, most=20) as (server, port):
        silent = [RawClient(port) for _ in range(60)]
        for client in silent:
            await client.__aenter__()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            assert (await http.get("/")).text == "hello"
        assert len(server.connections) <= 20
        assert await silent[0].rest() == b""
        for client in silent:
            await client.__aexit__()


async def test_when_all_are_at_work_a_new_one_is_refused_in_words() -> None:
    at_work, release = asyncio.Semaphore(0), asyncio.Event()

    async def busy(_: Request) -> Response:
        at_work.release()
        await release.wait()
        return PlainTextResponse("done")

    async with (
        guarded(Starlette(routes=[Route("/", busy)]), most=3) as (_, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        working = [asyncio.create_task(http.get("/")) for _ in range(3)]
        for _ in working:
            await at_work.acquire()
        refused = await http.get("/")
        release.set()
        assert [(await answer).text for answer in working] == ["done"] * 3
    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:scalrec:overloaded"
    assert refused.headers["Retry-After"] == "1"


async def test_nonsense_is_refused_as_a_problem_and_logged_within_a_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with guarded(APP) as (_, port):
        for _ in range(50):
            async with RawClient(port) as client:
                client.writer.write(b"no http\r\n\r\n")
                answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert problem(answer)["type"] == "urn:scalrec:invalid-request"
    assert len(caplog.records) <= 10


@pytest.mark.slow
def test_two_thousand_silent_connections_starve_nobody(tmp_path: Path) -> None:
    """A real service with 256 descriptors, as a container may give it."""
    port = free_port()
    bundle = make_bundle(tmp_path / "bundle", text_dim=64)
    use = ["--bundle", str(bundle.path), "--set", "cloud.admin_port=0", *QUICK]
    serve = CliRun(["serve", "--port", str(port), *use], tmp_path / "cloud")
    silent: list[socket.socket] = []
    with serve.started() as cloud:
        resource.prlimit(cloud.pid, resource.RLIMIT_NOFILE, (256, 256))
        serve.wait_for("API at /docs", cloud, timeout_s=60)
        url = f"http://127.0.0.1:{port}"
        wait_until_answered(url)
        before = len(serve.text())
        for round_ in range(20):
            for _ in range(100):
                one = socket.socket()
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
                if round_ % 2:
                    one.setblocking(True)
                    one.settimeout(5)
                    with suppress(OSError):  # its place may have been taken
                        one.sendall(b"POST /v1/users/ann/snapshot HTTP/1.1\r\nHost: a\r\n")
                silent.append(one)
            started = time.monotonic()
            answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=5)
            assert answer.status_code == 200, answer.text
            assert time.monotonic() - started < 3
        grown = serve.text()[before:]
        cloud.send_signal(signal.SIGTERM)
        cloud.wait(20)
        for one in silent:
            one.close()
    assert len(grown) < 20_000, grown[:2000]
    assert "Traceback" not in serve.text()


def wait_until_answered(url: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"{url}/healthz", trust_env=False, timeout=5)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"{url} does not answer")
