"""A balancer as operators have one: round robin over the replicas whose /readyz says yes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import httpx2 as httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Balancer:
    """An ASGI app in front of ``urls``; it repeats no request.

    Attributes:
        ready: replicas that take requests now.
        sent: requests by replica.
    """

    def __init__(self, urls: Sequence[str], *, look_every_s: float = 0.2) -> None:
        self._urls = list(urls)
        self._every_s = look_every_s
        self.ready: list[str] = []
        self.sent: Counter[str] = Counter()
        self._turn = 0
        self.app = Starlette(routes=[Route("/{path:path}", self._forward, methods=["GET", "POST"])])

    async def __aenter__(self) -> Balancer:
        # Lets go of idle connections before a replica does, as balancers are set to.
        limits = httpx.Limits(max_connections=None, keepalive_expiry=30)
        self._http = httpx.AsyncClient(trust_env=False, timeout=10, limits=limits)
        self._looking = asyncio.create_task(self._look())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking
        await self._http.aclose()

    async def until_ready(self, count: int, timeout_s: float = 60.0) -> None:
        """Wait until ``count`` replicas take requests."""
        async with asyncio.timeout(timeout_s):
            while len(self.ready) != count:  # noqa: ASYNC110 (only looking tells)
                await asyncio.sleep(0.05)

    async def _look(self) -> None:
        while True:
            states = await asyncio.gather(*(self._is_ready(url) for url in self._urls))
            self.ready = [url for url, ready in zip(self._urls, states, strict=True) if ready]
            await asyncio.sleep(self._every_s)

    async def _is_ready(self, url: str) -> bool:
        with suppress(httpx.HTTPError):
            return (await self._http.get(f"{url}/readyz", timeout=2)).status_code == 200
        return False

    async def _forward(self, request: Request) -> Response:
        if not self.ready:
            return Response("no replica is ready", 502)
        self._turn += 1
        url = self.ready[self._turn % len(self.ready)]
        self.sent[url] += 1
        try:
            answer = await self._http.request(
                request.method,
                f"{url}{request.url.path}",
                content=await request.body(),
                headers={"Content-Type": "application/json"},
            )
        except httpx.HTTPError as error:
            return Response(f"{url}: {error!r}", 502)
        return Response(answer.content, answer.status_code)
