"""A device behind a proxy, over real sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from device_runtime.cloud.transport import HttpTransport, TransportError
from shared.errors import ConfigError

VARIABLES = [f"{kind}_proxy" for kind in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def forward_proxy() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A proxy that answers for everybody; its port, and the request lines it got."""
    lines: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines.append(head.partition(b"\r\n")[0])
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], lines
    server.close()


async def get(url: str) -> bytes:
    transport = HttpTransport(url)
    try:
        answer = await transport.request("GET", "/v1/bundle", headers={}, content=b"", timeout_s=5)
    finally:
        await transport.aclose()
    return answer.content


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_cloud_elsewhere_is_asked_through_the_proxy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with forward_proxy() as (port, lines):
        monkeypatch.setenv(name, f"http://ann:pw@127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "fd07:b51a:cc66:0:a617:db5e:ab7:e9f1/64,.local")
        assert await get("http://cloud.invalid:8080") == b"ok"
    assert lines == [b"GET http://cloud.invalid:8080/v1/bundle HTTP/1.1"]


async def test_an_https_cloud_is_asked_through_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    async with forward_proxy() as (port, lines):
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        with pytest.raises(TransportError):  # nobody speaks TLS behind it
            await get("https://cloud.invalid")
    assert lines == [b"CONNECT cloud.invalid:443 HTTP/1.1"]


async def test_an_excepted_host_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    async with forward_proxy() as (port, lines):
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "cloud.invalid")
        with pytest.raises(TransportError):
            await get("http://cloud.invalid:8080")
    assert lines == []


async def test_this_machine_is_asked_directly_whatever_the_shell_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with forward_proxy() as (port, lines):
        for name in VARIABLES[:3]:
            monkeypatch.setenv(name, "quic://nonsense")
        assert await get(f"http://localhost:{port}") == b"ok"
    assert lines == [b"GET /v1/bundle HTTP/1.1"]


def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks4://proxy:1080")
    with pytest.raises(ConfigError, match="ALL_PROXY=socks4://proxy:1080"):
        HttpTransport("http://cloud.invalid")
    monkeypatch.delenv("ALL_PROXY")
    monkeypatch.setenv("SSL_CERT_FILE", f"{os.sep}no-such-file")
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        HttpTransport("https://cloud.invalid")


@pytest.mark.parametrize(
    "url",
    [
        "http://ann:canary7d1f two@host:99999999",
        "http://ann:canary7d1f/x@host:port",
        "ftp://ann:canary7d1f@host",
        "ann:canary7d1f@host:80",
        "http://?key=canary7d1f",
        "http://host:0",
        "",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(ConfigError, match=r"device\.link\.url") as refusal:
        HttpTransport(url)
    assert "canary7d1f" not in str(refusal.value)
