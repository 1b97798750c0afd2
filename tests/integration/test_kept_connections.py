"""Kept connections: who lets go first, and what becomes of a request that meets the closing."""

from __future__ import annotations

import asyncio
import random

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cloud_service.embedding import server_link
from device_runtime.cloud import transport as device
from device_runtime.cloud.transport import HttpTransport, TransportError, TransportResponse
from launch.listening.connections import KEEP_ALIVE_S
from tests.support.far import FarAway
from tests.support.guarded import guarded

ROUND_TRIP_S = 0.12


async def echo(request: Request) -> Response:
    return Response(await request.body())


APP = Starlette(routes=[Route("/", echo, methods=["POST"])])


async def ask(transport: HttpTransport, words: bytes = b"abc") -> TransportResponse:
    return await transport.request("POST", "/", headers={}, content=words, timeout_s=5)


async def near(limit_s: float, *, clients: int, times: int, port: int) -> list[TransportResponse]:
    """Answers to requests of clients that each pause for about ``limit_s`` between two."""
    rng = random.Random(0)

    async def one() -> list[TransportResponse]:
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        answers = [await ask(transport)]
        for _ in range(times):
            await asyncio.sleep(limit_s + rng.uniform(-1.5, 1.0) * ROUND_TRIP_S)
            answers.append(await ask(transport))
        await transport.aclose()
        return answers

    return [
        answer for some in await asyncio.gather(*(one() for _ in range(clients))) for answer in some
    ]


async def takes_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def test_the_client_lets_go_first() -> None:
    assert device.KEPT_S <= KEEP_ALIVE_S / 2
    assert server_link.KEPT_S <= 5 / 2  # what uvicorn-based embedding servers keep


async def test_a_request_that_meets_the_servers_closing_is_sent_again() -> None:
    async with (
        guarded(APP, timeout_keep_alive=1) as (_, port),
        FarAway(port, one_way_s=ROUND_TRIP_S / 2) as far,
    ):
        answers = await near(1.0, clients=60, times=2, port=far.port)
    assert [answer.content for answer in answers] == [b"abc"] * 180
    assert sum(answer.resent for answer in answers) > 0, "no request met the closing"


@pytest.mark.slow
async def test_gaps_near_five_seconds_lose_and_repeat_nothing() -> None:
    async with guarded(APP) as (_, port), FarAway(port, one_way_s=ROUND_TRIP_S / 2) as far:
        answers = await near(5.0, clients=200, times=3, port=far.port)
    assert [answer.content for answer in answers] == [b"abc"] * 800
    assert sum(answer.resent for answer in answers) == 0
    assert far.connections == 200


async def test_a_new_connection_that_dies_is_no_reason_to_send_again() -> None:
    asked = 0

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"abc")
        writer.transport.abort()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(TransportError):
        await ask(transport)
    assert asked == 1
    await transport.aclose()
    server.close()


async def test_a_request_whose_answer_has_begun_is_not_sent_again() -> None:
    asked = 0
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        for answer in (head + b"abc", head + b"a"):
            await reader.readuntil(b"abc")
            asked += 1
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert (await ask(transport)).content == b"abc"
    with pytest.raises(TransportError):
        await ask(transport)
    assert asked == 2
    await transport.aclose()
    server.close()


async def test_what_is_sent_again_is_sent_once_more_only() -> None:
    asked = 0
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"

    async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"abc")
        asked += 1
        if asked == 1:
            writer.write(head)
            await reader.readuntil(b"abc")
            asked += 1
        writer.transport.abort()

    server = await asyncio.start_server(first_only, "127.0.0.1", 0)
    transport = HttpTransport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await ask(transport)
    with pytest.raises(TransportError):
        await ask(transport)
    assert asked == 3
    await transport.aclose()
    server.close()


async def test_a_device_goes_on_while_a_server_says_it_closes() -> None:
    async with guarded(APP, drain_s=60.0) as (server, port):
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        assert "connection" not in (await ask(transport)).headers
        server.stop()
        answers = [await ask(transport) for _ in range(5)]
        assert [answer.headers["connection"] for answer in answers] == ["close"] * 5
        assert [answer.content for answer in answers] == [b"abc"] * 5
        assert sum(answer.resent for answer in answers) == 0
        await transport.aclose()


async def test_what_is_under_way_is_answered_when_a_server_stops() -> None:
    at_work, release = asyncio.Event(), asyncio.Event()

    async def busy(request: Request) -> Response:
        at_work.set()
        await release.wait()
        return Response(await request.body())

    app = Starlette(routes=[Route("/", busy, methods=["POST"])])
    async with guarded(app) as (server, port):
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        asking = asyncio.create_task(ask(transport))
        await at_work.wait()
        server.stop()
        async with asyncio.timeout(5):
            while await takes_connections(port):  # noqa: ASYNC110 (only trying tells)
                await asyncio.sleep(0.01)
        release.set()
        answer = await asking
        assert (answer.content, answer.headers["connection"]) == (b"abc", "close")
        await transport.aclose()


async def test_a_request_from_before_the_stop_is_told_to_ask_elsewhere() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        asked.set()
        await answer.wait()
        return Response(b"served")

    app = Starlette(routes=[Route("/", slow, methods=["POST"])])
    async with guarded(app, drain_s=0.2) as (server, port):
        transport = HttpTransport(f"http://127.0.0.1:{port}")
        asking = asyncio.create_task(ask(transport))
        await asked.wait()
        # Longer than uvicorn keeps the headers it adds, so that the request holds old ones.
        await asyncio.sleep(1.2)
        server.stop()
        answer.set()
        told = await asking
        await transport.aclose()
    assert (told.status, told.content) == (200, b"served")
    assert told.headers["connection"] == "close"
