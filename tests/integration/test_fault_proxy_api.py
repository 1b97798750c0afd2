"""The fault proxy's control API, through its own client, and what it lets in."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx2 as httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from loadtest.proxy.__main__ import main
from loadtest.proxy.client import FaultProxy
from loadtest.proxy.control import Switchboard, control_app
from loadtest.proxy.toxics import MAX_TOXICS, Toxic
from shared.errors import ConfigError
from tests.support.proxied import Peer, echo, proxied
from tests.support.servers import free_port, serving

TOKEN = "a-token-for-tests-0123456789"
GUARD_S = 20.0  # against waiting for ever; nothing here is meant to take that long


async def test_the_api_refuses_as_toxiproxy_does() -> None:
    async with proxied() as (client, _), httpx.AsyncClient(base_url=client.url) as http:
        asked = {
            (
                "POST",
                "/proxies",
                '{"name": "echo", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1"}',
            ): 409,
            ("POST", "/proxies", '{"name": "b"}'): 400,
            ("POST", "/proxies", "{"): 400,
            ("POST", "/proxies/echo/toxics", '{"type": "magic"}'): 400,
            ("POST", "/proxies/echo/toxics", '{"type": "latency", "attributes": {"x": 1}}'): 400,
            ("POST", "/proxies/none/toxics", '{"type": "latency"}'): 404,
            ("DELETE", "/proxies/echo/toxics/none", ""): 404,
            ("POST", "/proxies/none", '{"enabled": false}'): 404,
        }
        for (method, path, body), status in asked.items():
            answer = await http.request(method, path, content=body)
            assert answer.status_code == status, (path, answer.text)
            assert answer.json()["status"] == status
            assert answer.json()["error"]
        made = await http.post("/proxies/echo/toxics", json={"type": "latency"})
        assert made.json()["name"] == "latency_downstream"
        again = await http.post("/proxies/echo/toxics", json={"type": "latency"})
        assert again.status_code == 409


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Authorization": "Bearer wrong-token-0123456789"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": ""}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}, 403),
        ({"Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:8474"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:8474"}, 200),
        ({"Host": "[::1]:8474"}, 200),
        ({"Host": "proxy:8474"}, 200),
    ],
)
async def test_only_programs_with_the_token_that_call_it_by_its_name_are_let_in(
    headers: dict[str, str], status: int
) -> None:
    app = control_app(Switchboard(), token=TOKEN, names=["proxy"])
    shown = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "python", **headers}
    async with serving(app) as url, httpx.AsyncClient(base_url=url, headers=shown) as http:
        for method, path in (("GET", "/proxies"), ("POST", "/reset"), ("GET", "/nothing")):
            answer = await http.request(method, path)
            usual = {"/reset": 204, "/nothing": 404}.get(path, 200)
            assert answer.status_code == (usual if status == 200 else status), answer.text
        # What health checks ask needs no token, and is no way in for a page either.
        expected = 403 if status == 403 else 200
        assert (await http.get("/version")).status_code == expected


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"[" * 60_000, 400),
        (b"\xff\xfe", 400),
        (b" " * (64 * 1024 + 1), 413),
        (b'{"name": "p", "listen": "127.0.0.1:99999", "upstream": "127.0.0.1:1"}', 400),
        (b'{"name": "p", "listen": "0.0.0.0:0", "upstream": "127.0.0.1:1"}', 403),
        (b'{"name": "p", "listen": "127.0.0.1:0", "upstream": "redis:6379"}', 403),
        (b'{"name": "p", "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "toxics": [%s]}'
         % b",".join([b'{"type": "latency"}'] * 40), 400),
    ],
)  # fmt: skip
async def test_what_a_caller_sends_is_bounded(content: bytes, status: int) -> None:
    async with (
        serving(control_app(Switchboard())) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        answer = await http.post("/proxies", content=content)
        assert answer.status_code == status, answer.text
        assert (await http.get("/proxies")).json() == {}


async def test_a_proxy_takes_a_bounded_number_of_toxics() -> None:
    async with proxied() as (client, _):
        for n in range(MAX_TOXICS):
            await client.add("echo", Toxic(name=f"t{n}", type="latency"))
        with pytest.raises(ConfigError, match="400"):
            await client.add("echo", Toxic(name="more", type="latency"))
        for number in ("NaN", "-1", "2"):
            async with httpx.AsyncClient(base_url=client.url) as http:
                toxic = f'{{"type": "timeout", "toxicity": {number}}}'
                assert (await http.post("/proxies/echo/toxics", content=toxic)).status_code == 400


@pytest.mark.parametrize("options", [[], ["--no-token", "--host", "0.0.0.0"]])
def test_it_does_not_start_where_anybody_could_call_it(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="--token-file PATH"):
        main(options)


@pytest.mark.parametrize("text", ["", "short", "two words of a long token"])
def test_a_token_file_without_a_token_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(SystemExit, match="holds no token"):
        main(["--token-file", str(tmp_path / "token")])


async def test_no_proxy_there_is_said_with_what_to_do() -> None:
    async with FaultProxy(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(ConfigError, match=r"python -m loadtest\.proxy"):
            await client.version()


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[1]", b'{"a": {"name": 2}}', b'"text"', b"", b"[" * 60_000],
)
async def test_another_service_at_its_address_is_said(body: bytes) -> None:
    async def answer(_: Request) -> Response:
        return Response(body, media_type="text/html; charset=hex")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    async with serving(app) as url, FaultProxy(url) as client:
        with pytest.raises(ConfigError, match="is no fault proxy"):
            await client.create("echo", upstream="127.0.0.1:1", listen="127.0.0.1:0")
        with pytest.raises(ConfigError, match="is no fault proxy"):
            await client.proxies()
        with pytest.raises(ConfigError, match="is no fault proxy"):
            await client.version()


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://127.0.0.1:-1", "host:1", ""])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is no address of a fault proxy"):
        FaultProxy(url)


async def test_the_words_of_a_refusal_are_read_whatever_charset_it_names() -> None:
    async def answer(_: Request) -> Response:
        return Response(b"no \xff", 500, media_type="text/plain; charset=hex")

    app = Starlette(routes=[Route("/{path:path}", answer)])
    async with serving(app) as url, FaultProxy(url) as client:
        with pytest.raises(ConfigError, match="500 no"):
            await client.version()


async def test_it_runs_as_a_program_from_a_configuration_file(tmp_path: Path) -> None:
    control, port = free_port(), free_port()
    async with echo() as upstream:
        config, secret = tmp_path / "proxies.json", tmp_path / "token"
        secret.write_text(f"{TOKEN}\n")
        config.write_text(
            json.dumps([{"name": "e", "listen": f"127.0.0.1:{port}", "upstream": upstream}])
        )
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "loadtest.proxy", "--port", str(control), "--config", config,
            "--token-file", secret, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{control}"
            async with FaultProxy(address, TOKEN) as client, FaultProxy(address) as stranger:
                async with asyncio.timeout(3 * GUARD_S):
                    while True:
                        try:
                            assert await client.version()
                            break
                        except ConfigError:
                            await asyncio.sleep(0.05)
                peer = await Peer.connect(port)
                await peer.round_trip()
                peer.close()
                await client.add("e", Toxic(type="latency", attributes={"latency": 1}))
                with pytest.raises(ConfigError, match="asks for its token"):
                    await stranger.proxies()
                # No new ways into anything: neither another proxy nor another end of this one.
                with pytest.raises(ConfigError, match="403"):
                    await client.create("way-in", upstream=upstream, listen="127.0.0.1:0")
                async with httpx.AsyncClient(
                    base_url=address, headers={"Authorization": f"Bearer {TOKEN}"}
                ) as http:
                    moved = await http.post("/proxies/e", json={"upstream": "127.0.0.1:22"})
                    assert moved.status_code == 403
                    assert (await http.post("/proxies/e", json={"enabled": True})).is_success
            child.send_signal(signal.SIGINT)
            await asyncio.wait_for(child.wait(), GUARD_S)
        finally:
            if child.returncode is None:
                child.kill()
            await child.wait()
