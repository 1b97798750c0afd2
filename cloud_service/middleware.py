"""What surrounds every request: its id, its measurements, the bound on its body, a last catch."""

from __future__ import annotations

import re
import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_service.problems import problem_response
from cloud_service.telemetry import Telemetry
from shared.schemas import ProblemType

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")


class RequestEnvelope:
    """Gives each request an id, logs and counts it, and answers what nobody else caught.

    A caller's ``X-Request-ID`` is kept if it is short and plain; the answer carries it back.
    """

    def __init__(self, app: ASGIApp, telemetry: Telemetry):
        self._app = app
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _REQUEST_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, observed)
            except Exception:
                self._telemetry.log.exception("unhandled error", route=_route(scope))
                if status is not None:
                    raise  # half an answer is out: only breaking the connection tells the client
                self._telemetry.metrics.problems.labels("internal").inc()
                response = problem_response(
                    ProblemType.INTERNAL,
                    "an unexpected error was logged under this request's id",
                    request_id=request_id,
                )
                await response(scope, receive, observed)
            finally:
                self._measure(scope, status or 0, time.perf_counter() - started)

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._telemetry.metrics.requests.labels(method, route, str(status)).inc()
        self._telemetry.metrics.request_seconds.labels(route).observe(seconds)
        self._telemetry.log.debug(
            "request", method=method, route=route, status=status, ms=round(seconds * 1000, 2)
        )


class BodyLimit:
    """Refuses request bodies above ``max_bytes``, whether their length is declared or not."""

    def __init__(self, app: ASGIApp, max_bytes: int):
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"a request body may have {self._max_bytes} bytes"
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_bytes:
            request_id = scope.get("state", {}).get("request_id", "")
            response = problem_response(
                ProblemType.REQUEST_TOO_LARGE, detail, request_id=request_id
            )
            await response(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)


def _route(scope: Scope) -> str:
    """The template, not the path: paths hold user ids, and would make endless label values."""
    return getattr(scope.get("route"), "path", "unmatched")


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
