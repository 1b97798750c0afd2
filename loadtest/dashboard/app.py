"""The live view as a web application: one page, its stream of figures, its controls.

Another page in the same browser must not drive a run. So changes need the token that stands in
our page (which no other origin can read), requests that name a foreign origin are refused, and
so is a Host header that is not ours (a foreign name that was made to resolve to this machine).
Processes of a fleet bring a token of their own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from loadtest.dashboard.hub import Hub
from loadtest.dashboard.messages import TOKEN_HEADER, decode_update
from loadtest.dashboard.view import View
from loadtest.timing.switched_availability import Mode
from shared.errors import ConfigError, DataError

UPDATE_S = 0.5
HEARTBEAT_S = 10.0
MOST_STREAMS = 16
MOST_BYTES = 8 * 2**20
REPORT = "report.html"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ASSETS = {
    "view.css": "text/css",
    "view.js": "text/javascript",
    "charts.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
# A report draws its charts with inline scripts. In a sandbox it has no origin, so whatever is in
# it cannot read this page's token.
_REPORT_HEADERS = _HEADERS | {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'none'",
}


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page may ask for; exactly one of them at a time."""

    cloud: Mode | None = None
    k: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    calibrate: bool | None = None


class LiveView:
    """The application around one hub.

    Args:
        hub: where the figures come from.
        runs: folder of the run folders, whose reports are linked when they are there.
        ingest_token: what processes of a fleet must show; None takes no updates over HTTP.
        hosts: names this page is reached by, beside those of the loopback.
        window_s: length of the sliding window, replayed seconds.
    """

    def __init__(
        self,
        hub: Hub,
        runs: Path,
        *,
        ingest_token: str | None = None,
        hosts: Sequence[str] = (),
        window_s: float = 10.0,
    ) -> None:
        self._hub = hub
        self._runs = runs
        self._ingest_token = ingest_token
        self._hosts = {*LOOPBACK, *hosts}
        self._view = View(window_s)
        self._page_token = secrets.token_urlsafe(16)
        self._drawn: tuple[object, bytes] = (None, b"")
        self._streams = 0
        self.closing = False
        self.app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/healthz", self._health),
                Route("/assets/{name}", self._asset),
                Route("/state", self._state),
                Route("/events", self._events),
                Route("/control", self._control, methods=["POST"]),
                Route("/ingest", self._ingest, methods=["POST"]),
                Route("/runs/{run}/report", self._report),
            ],
            exception_handlers={HTTPException: _problem},
        )

    async def _page(self, request: Request) -> Response:
        self._own_host(request)
        page = _text("index.html").replace("{{token}}", self._page_token)
        return Response(page, media_type="text/html", headers=_HEADERS)

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _ASSETS:
            raise HTTPException(404, "no such file")
        return Response(_text(name), media_type=_ASSETS[name], headers=_HEADERS)

    async def _state(self, request: Request) -> Response:
        self._own_host(request)
        return Response(self._draw(), media_type="application/json", headers=_HEADERS)

    async def _events(self, request: Request) -> Response:
        self._own_host(request)
        if self._streams >= MOST_STREAMS:
            raise HTTPException(503, f"more than {MOST_STREAMS} pages are open")
        return StreamingResponse(
            self._stream(request), media_type="text/event-stream", headers=_HEADERS
        )

    async def _stream(self, request: Request) -> AsyncIterator[bytes]:
        """The figures whenever they changed, at most once per UPDATE_S."""
        self._streams += 1
        try:
            yield b"retry: 1000\n\n"
            sent, silence = b"", 0.0
            while not self.closing and not await request.is_disconnected():
                drawn = self._draw()
                if drawn != sent:
                    sent, silence = drawn, 0.0
                    yield b"data: " + drawn + b"\n\n"
                elif silence >= HEARTBEAT_S:
                    silence = 0.0
                    yield b": still here\n\n"
                await asyncio.sleep(UPDATE_S)
                silence += UPDATE_S
        finally:
            self._streams -= 1

    async def _control(self, request: Request) -> Response:
        self._own_host(request)
        self._own_origin(request)
        self._token(request, self._page_token)
        try:
            change = msgspec.json.decode(await _body(request, 4096), type=Change)
            asked = {
                n: v for n in change.__struct_fields__ if (v := getattr(change, n)) is not None
            }
            if len(asked) != 1:
                raise HTTPException(400, "ask for one of: cloud, k, calibrate")
            self._hub.ask(**asked)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise HTTPException(400, f"not a change: {error}") from error
        except ConfigError as error:
            raise HTTPException(409, str(error)) from error
        return Response(self._draw(), media_type="application/json", headers=_HEADERS)

    async def _ingest(self, request: Request) -> Response:
        if self._ingest_token is None:
            raise HTTPException(403, "this view shows its own process only")
        self._token(request, self._ingest_token)
        try:
            reply = self._hub.offer(decode_update(await _body(request, MOST_BYTES)))
        except DataError as error:
            raise HTTPException(400, str(error)) from error
        except ConfigError as error:
            raise HTTPException(409, str(error)) from error
        return Response(msgspec.json.encode(reply), media_type="application/json", headers=_HEADERS)

    async def _report(self, request: Request) -> Response:
        self._own_host(request)
        path = self._report_path(request.path_params["run"])
        if path is None:
            raise HTTPException(404, "there is no report of this run yet")
        return FileResponse(path, media_type="text/html", headers=_REPORT_HEADERS)

    def _report_path(self, run: str) -> Path | None:
        """The report of the run that is shown; no other name reaches the disk."""
        shown = self._hub.look(lambda known, _: known.facts.run)
        path = self._runs / run / REPORT
        return path if run == shown and path.is_file() else None

    def _draw(self) -> bytes:
        """The page's figures as JSON; drawn once for all who look.

        A process that fell silent or a report that was finished shows without any news of a
        process, so these two are looked at every time.
        """
        run = self._hub.look(lambda known, now: (known.facts.run, known.status, known.silent(now)))
        if run is None:
            return msgspec.json.encode(_before(self._hub.preparation.drawn()))
        report = run[1] != "running" and self._report_path(run[0]) is not None
        key = hash((self._hub.version, run, report))
        if self._drawn[0] != key:
            figures: dict[str, Any] = self._hub.look(self._view) or {}
            figures["report"] = f"/runs/{run[0]}/report" if report else None
            self._drawn = key, msgspec.json.encode(figures)
        return self._drawn[1]

    def _own_host(self, request: Request) -> None:
        if _host_of(f"//{request.headers.get('host', '')}") not in self._hosts:
            raise HTTPException(
                421, "reached by a name that is not this view's; see dashboard.allow_hosts"
            )

    def _own_origin(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and not _leads_to(origin, request.headers.get("host", "")):
            raise HTTPException(403, "asked by a page of another origin")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise HTTPException(403, "asked by a page of another site")

    @staticmethod
    def _token(request: Request, expected: str) -> None:
        shown = request.headers.get(TOKEN_HEADER, "")
        if not secrets.compare_digest(shown.encode(), expected.encode()):
            raise HTTPException(403, f"{TOKEN_HEADER} is missing or wrong; reload the page")


def _before(works: list[dict[str, Any]]) -> dict[str, Any]:
    """What the page shows before there is a run."""
    return {"status": "preparing" if works else "waiting", "works": works, "report": None}


def _host_of(address: str) -> str | None:
    """The name in an address; None where it is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:  # brackets around what is no IPv6 address
        return None


def _leads_to(origin: str, host: str) -> bool:
    """Whether the origin's host and port are those of a Host header that has been checked."""
    return _host_of(origin) is not None and urlsplit(origin).netloc == host


def _text(name: str) -> str:
    return (resources.files("loadtest.dashboard") / "static" / name).read_text(encoding="utf-8")


async def _body(request: Request, most: int) -> bytes:
    """The request's body, refused once it is longer than ``most`` bytes."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise HTTPException(413, f"more than {most} bytes")
    except ClientDisconnect as error:
        raise HTTPException(400, "the request was cut off") from error
    return body


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return JSONResponse(
        {"title": error.detail, "status": error.status_code},
        error.status_code,
        headers=_HEADERS,
        media_type="application/problem+json",
    )
