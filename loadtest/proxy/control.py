"""The control API of a fault proxy: what scripts use of Toxiproxy's, same paths and JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from launch.ports import LOOPBACK
from loadtest.proxy.gate import ControlGate
from loadtest.proxy.proxy import Proxy, ProxyError
from loadtest.proxy.toxics import ProxySpec, Toxic, host_port

MAX_BODY_BYTES = 64 * 1024
MAX_PROXIES = 100
BODY_TIMEOUT_S = 5.0
VERSION = "2.12.0"  # of the API that is spoken here


class Switchboard:
    """All proxies of a process, by name.

    Args:
        seed: of toxicity and jitter.
        host: the one host that callers may make proxies on and lead them to; None lets them change
            toxics of configured proxies and nothing else.
    """

    def __init__(self, *, seed: int = 0, host: str | None = LOOPBACK) -> None:
        self._proxies: dict[str, Proxy] = {}
        self._seed = seed
        self._host = host

    def __getitem__(self, name: str) -> Proxy:
        try:
            return self._proxies[name]
        except KeyError:
            raise ProxyError(f"proxy {name!r} not found", 404) from None

    def specs(self) -> dict[str, ProxySpec]:
        return {name: proxy.spec for name, proxy in self._proxies.items()}

    def allow(self, spec: ProxySpec) -> None:
        """Raises ProxyError (403) unless callers may have a proxy with these addresses."""
        if self._host is None:
            raise ProxyError(
                "proxies are those of --config here: no other address can be listened on or led to",
                403,
            )
        for address in (spec.listen, spec.upstream):
            if host_port(address)[0] != self._host:
                raise ProxyError(f"proxies are made on and to {self._host} alone here", 403)

    async def create(self, spec: ProxySpec) -> ProxySpec:
        """Raises ProxyError: name taken, too many, or the address cannot be had."""
        if spec.name in self._proxies:
            raise ProxyError(f"proxy {spec.name!r} already exists", 409)
        if len(self._proxies) >= MAX_PROXIES:
            raise ProxyError(f"{MAX_PROXIES} proxies exist already", 400)
        proxy = Proxy(spec, seed=self._seed + len(self._proxies))
        if spec.enabled:
            await proxy.start()
        self._proxies[spec.name] = proxy
        return proxy.spec

    async def reset(self) -> None:
        """Open every proxy and remove every toxic."""
        for proxy in self._proxies.values():
            proxy.clear()
            await proxy.start()

    async def aclose(self) -> None:
        for proxy in self._proxies.values():
            await proxy.stop()


def control_app(
    board: Switchboard, *, token: str | None = None, names: Iterable[str] = ()
) -> Starlette:
    """The API over ``board``, which is closed with the app.

    Args:
        token, names: who may ask; see ControlGate.
    """

    async def proxies(_: Request) -> Response:
        return JSONResponse({name: spec.model_dump() for name, spec in board.specs().items()})

    async def create(request: Request) -> Response:
        spec = ProxySpec.model_validate(await _body(request))
        board.allow(spec)
        return JSONResponse((await board.create(spec)).model_dump(), 201)

    async def update(request: Request) -> Response:
        proxy = _proxy(request)
        now = proxy.spec
        spec = ProxySpec.model_validate(now.model_dump() | await _object(request))
        if (spec.listen, spec.upstream) != (now.listen, now.upstream):
            board.allow(spec)
        await proxy.update(listen=spec.listen, upstream=spec.upstream, enabled=spec.enabled)
        return JSONResponse(proxy.spec.model_dump())

    async def add(request: Request) -> Response:
        toxic = Toxic.model_validate(await _object(request))
        _proxy(request).add(toxic)
        return JSONResponse(toxic.model_dump())

    async def remove(request: Request) -> Response:
        _proxy(request).remove(request.path_params["toxic"])
        return Response(status_code=204)

    async def reset(_: Request) -> Response:
        await board.reset()
        return Response(status_code=204)

    async def version(_: Request) -> Response:
        return JSONResponse({"version": VERSION})

    def _proxy(request: Request) -> Proxy:
        return board[request.path_params["proxy"]]

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await board.aclose()

    one, its_toxics = "/proxies/{proxy}", "/proxies/{proxy}/toxics"
    routes = [
        Route("/proxies", proxies, methods=["GET"]),
        Route("/proxies", create, methods=["POST"]),
        Route(one, update, methods=["POST"]),
        Route(its_toxics, add, methods=["POST"]),
        Route(its_toxics + "/{toxic}", remove, methods=["DELETE"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/version", version, methods=["GET"]),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(ControlGate, token=token, names=tuple(names))],
        exception_handlers={ProxyError: _failed, ValidationError: _malformed},
    )


async def _object(request: Request) -> dict[str, Any]:
    body = await _body(request)
    if not isinstance(body, dict):
        raise ProxyError("expected a JSON object", 400)
    return body


async def _body(request: Request) -> Any:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise ProxyError(f"the body is larger than {MAX_BODY_BYTES} bytes", 413)
    except TimeoutError:
        raise ProxyError(f"the body did not come within {BODY_TIMEOUT_S:g} s", 408) from None
    except ClientDisconnect:
        raise ProxyError("the caller went away", 400) from None
    try:
        return json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise ProxyError(f"the body is not JSON: {error}", 400) from error


def _failed(_: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, ProxyError) else 500
    return JSONResponse({"error": str(error), "status": status}, status)


def _malformed(_: Request, error: Exception) -> Response:
    problems = error.errors(include_input=False) if isinstance(error, ValidationError) else []
    words = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'body'}: {p['msg']}" for p in problems)
    return JSONResponse({"error": words, "status": 400}, 400)
