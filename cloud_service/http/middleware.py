"""What surrounds every request: ids, a span, measurements, bounds on its size, a last catch."""

from __future__ import annotations

import re
import secrets
import time

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_service.http.audit import route_of
from cloud_service.http.problems import ProblemAnswers
from cloud_service.telemetry.telemetry import request_fields
from shared.schemas import ID_PATTERN, REFRESH_HEADER, REQUEST_ID_HEADER, ProblemType
from shared.tracing import Tracing

_ID = re.compile(ID_PATTERN)
_REQUEST_ID = REQUEST_ID_HEADER.lower().encode()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestEnvelope:
    """Gives each request its ids and a span, logs and counts it, answers what nobody caught.

    A caller's ``X-Request-ID`` is kept if it is short and plain; the answer carries it back. So is
    its ``Scalrec-Refresh``, the id shared by all attempts of a device's refresh. Both are in
    every log line made on the way.
    """

    def __init__(self, app: ASGIApp, answers: ProblemAnswers, tracing: Tracing):
        self._app = app
        self._answers = answers
        self._telemetry = answers.telemetry
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID_HEADER, "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(16)
        ids = {"request_id": request_id}
        if _ID.fullmatch(refresh_id := headers.get(REFRESH_HEADER, "")):
            ids["refresh_id"] = refresh_id
        scope.setdefault("state", {})["request_id"] = request_id
        fields = request_fields.set(ids)
        started = time.perf_counter()
        status: int | None = None

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (_REQUEST_ID, request_id.encode())]
            await send(message)

        with self._tracing.span(
            "request",
            kind="server",
            parent=headers,
            attributes={f"scalrec.{name}": value for name, value in ids.items()},
        ) as span:
            try:
                await self._app(scope, receive, observed)
            except Exception:
                self._telemetry.log.exception("unhandled error", route=route_of(scope))
                if status is not None:
                    raise  # half an answer is out: only breaking the connection tells the client
                response = self._answers.respond(
                    scope,
                    ProblemType.INTERNAL,
                    "an unexpected error was logged under this request's id",
                )
                await response(scope, receive, observed)
            finally:
                self._measure(scope, status or 0, time.perf_counter() - started)
                span.set("http.route", route_of(scope))
                span.set("http.response.status_code", status or 0)
                request_fields.reset(fields)

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._telemetry.metrics.answered(method, route, status, seconds)
        self._telemetry.log.debug(
            "request", method=method, route=route, status=status, ms=round(seconds * 1000, 2)
        )


class SizeLimits:
    """Refuses headers and bodies above their bounds, whether a body's length is declared or not.

    Args:
        answers: makes the refusals.
        max_header_bytes: names and values of all headers together.
        max_body_bytes: of one body.
    """

    def __init__(
        self, app: ASGIApp, answers: ProblemAnswers, max_header_bytes: int, max_body_bytes: int
    ):
        self._app = app
        self._answers = answers
        self._max_header_bytes = max_header_bytes
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._max_header_bytes:
            detail = f"all request headers together may have {self._max_header_bytes} bytes"
            too_large = self._answers.respond(scope, ProblemType.HEADERS_TOO_LARGE, detail)
            await too_large(scope, receive, send)
            return
        detail = f"a request body may have {self._max_body_bytes} bytes"
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            too_large = self._answers.respond(scope, ProblemType.REQUEST_TOO_LARGE, detail)
            await too_large(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_body_bytes:
                raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)
