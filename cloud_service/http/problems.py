"""Problem details (RFC 9457): every error of the service leaves as one, with a stable type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match
from starlette.types import Scope

from cloud_service.embedding.base import TextsRefused
from cloud_service.http.audit import AuditLog
from cloud_service.limits import Overloaded, RateLimited
from cloud_service.telemetry.telemetry import Telemetry
from shared.addresses import masked, masked_values, unaddressed
from shared.errors import EmbedderMismatch, EmbedderUnavailable, ScalrecError, StoreUnavailable
from shared.schemas import PROBLEM_MEDIA_TYPE, Problem, ProblemType

RETRY_AFTER_S = 1.0  # what Retry-After says unless the problem knows better
STATUS: Mapping[ProblemType, int] = {
    ProblemType.INVALID_REQUEST: 422,
    ProblemType.UNAUTHENTICATED: 401,
    ProblemType.FORBIDDEN: 403,
    ProblemType.REQUEST_TIMEOUT: 408,
    ProblemType.REQUEST_TOO_LARGE: 413,
    ProblemType.HEADERS_TOO_LARGE: 431,
    ProblemType.UNSUPPORTED_MEDIA_TYPE: 415,
    ProblemType.RATE_LIMITED: 429,
    ProblemType.BUNDLE_MISMATCH: 409,
    ProblemType.NO_SNAPSHOT: 404,
    ProblemType.OVERLOADED: 429,
    ProblemType.ABSTRACT_REFUSED: 422,
    ProblemType.EMBEDDER_UNAVAILABLE: 503,
    ProblemType.EMBEDDER_MISMATCH: 503,
    ProblemType.STORE_UNAVAILABLE: 503,
    ProblemType.NOT_READY: 503,
    ProblemType.NOT_FOUND: 404,
    ProblemType.METHOD_NOT_ALLOWED: 405,
    ProblemType.INTERNAL: 500,
}
TITLE: Mapping[ProblemType, str] = {
    ProblemType.INVALID_REQUEST: "The request is not valid",
    ProblemType.UNAUTHENTICATED: "A valid token is needed",
    ProblemType.FORBIDDEN: "The token is of another user",
    ProblemType.REQUEST_TIMEOUT: "The request did not come in time",
    ProblemType.REQUEST_TOO_LARGE: "The request body is too large",
    ProblemType.HEADERS_TOO_LARGE: "The request headers are too large",
    ProblemType.UNSUPPORTED_MEDIA_TYPE: "The body is of another media type than the path takes",
    ProblemType.RATE_LIMITED: "The device asks too often",
    ProblemType.BUNDLE_MISMATCH: "The cloud serves another bundle",
    ProblemType.NO_SNAPSHOT: "No snapshot of this user is stored",
    ProblemType.OVERLOADED: "Too many snapshots are being computed",
    ProblemType.ABSTRACT_REFUSED: "The text model gives no vector for this abstract",
    ProblemType.EMBEDDER_UNAVAILABLE: "The embedding server does not answer",
    ProblemType.EMBEDDER_MISMATCH: "The embedding server does not fit the bundle",
    ProblemType.STORE_UNAVAILABLE: "The snapshot store does not give or take snapshots",
    ProblemType.NOT_READY: "The service is not ready",
    ProblemType.NOT_FOUND: "There is nothing at this path",
    ProblemType.METHOD_NOT_ALLOWED: "The path does not take this method",
    ProblemType.INTERNAL: "The service failed",
}
_OF_ERROR: Mapping[type[ScalrecError], ProblemType] = {
    Overloaded: ProblemType.OVERLOADED,
    TextsRefused: ProblemType.ABSTRACT_REFUSED,  # before what it is a kind of
    EmbedderUnavailable: ProblemType.EMBEDDER_UNAVAILABLE,
    EmbedderMismatch: ProblemType.EMBEDDER_MISMATCH,
    StoreUnavailable: ProblemType.STORE_UNAVAILABLE,
}
_OF_STATUS: Mapping[int, ProblemType] = {
    404: ProblemType.NOT_FOUND,
    405: ProblemType.METHOD_NOT_ALLOWED,
    413: ProblemType.REQUEST_TOO_LARGE,
    415: ProblemType.UNSUPPORTED_MEDIA_TYPE,
}
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
# Who asks is told when to come back: waiting helps, or somebody else has to change something.
_PASSING = {
    ProblemType.RATE_LIMITED,
    ProblemType.OVERLOADED,
    ProblemType.EMBEDDER_UNAVAILABLE,
    ProblemType.EMBEDDER_MISMATCH,
    ProblemType.STORE_UNAVAILABLE,
    ProblemType.NOT_READY,
}
_ANYWHERE = (
    ProblemType.NOT_FOUND,
    ProblemType.METHOD_NOT_ALLOWED,
    ProblemType.REQUEST_TIMEOUT,
    ProblemType.REQUEST_TOO_LARGE,
    ProblemType.HEADERS_TOO_LARGE,
    ProblemType.INTERNAL,
)


class ProblemError(ScalrecError):
    """Raised to answer with the problem ``type``.

    Args:
        type_: of the problem.
        detail: what is wrong with this request.
        headers: of the answer.
        audit: a stable word for the audit log, where the type does not say enough.
        extra: further members of the problem document.
    """

    def __init__(
        self,
        type_: ProblemType,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        audit: str = "",
        **extra: Any,
    ):
        super().__init__(detail)
        self.type = type_
        self.headers = headers
        self.audit = audit
        self.extra = extra


@dataclass(frozen=True)
class ProblemAnswers:
    """Makes every problem answer of one app: counted, and in the audit log if it is a refusal.

    Attributes:
        telemetry: where they are counted.
        audit: where refusals are written down.
        retry_after_s: seconds that Retry-After asks for, unless the problem knows better.
    """

    telemetry: Telemetry
    audit: AuditLog
    retry_after_s: float

    def respond(
        self,
        scope: Scope,
        type_: ProblemType,
        detail: str,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        why: str = "",
        **extra: Any,
    ) -> JSONResponse:
        """The answer: status by type unless given, Retry-After only where waiting can help."""
        code = STATUS[type_] if status is None else status
        self.telemetry.metrics.problems.labels(type_.value.rsplit(":", 1)[-1]).inc()
        self.audit.refused(scope, type_, code, why)
        request_id = scope.get("state", {}).get("request_id", "")
        problem = Problem(
            type=type_,
            title=TITLE[type_],
            status=code,
            detail=masked(detail),
            instance=f"urn:scalrec:request:{request_id}" if request_id else "",
        )
        all_headers = dict(headers or {})
        if type_ in _PASSING:
            wait_s = self.retry_after_s if retry_after_s is None else retry_after_s
            all_headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
        return JSONResponse(
            {**problem.model_dump(mode="json"), **masked_values(extra)},
            status_code=code,
            headers=all_headers,
            media_type=PROBLEM_MEDIA_TYPE,
        )


def install_problems(app: FastAPI, answers: ProblemAnswers) -> None:
    """Turn every error of routing, validation and the service's own parts into a problem."""
    log = answers.telemetry.log

    async def of_scalrec_error(request: Request, error: Exception) -> JSONResponse:
        scope = request.scope
        if isinstance(error, ProblemError):
            return answers.respond(
                scope,
                error.type,
                str(error),
                headers=error.headers,
                why=error.audit,
                **error.extra,
            )
        if isinstance(error, RateLimited):
            return answers.respond(
                scope,
                ProblemType.RATE_LIMITED,
                str(error),
                retry_after_s=error.retry_after_s,
            )
        for kind, type_ in _OF_ERROR.items():
            if isinstance(error, kind):
                log.warning("request refused", problem=type_.value, reason=str(error))
                # What failed behind the service names machines, which devices need not know; the
                # log does, under this request's id.
                detail = unaddressed(str(error))
                if isinstance(error, StoreUnavailable):
                    return answers.respond(scope, type_, detail, condition=error.condition)
                return answers.respond(scope, type_, detail)
        raise error

    async def of_validation(request: Request, error: Exception) -> JSONResponse:
        errors = error.errors() if isinstance(error, RequestValidationError) else []
        # Where and why, never the input itself: it may hold what a user would not want logged.
        detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in errors[:10])
        return answers.respond(request.scope, ProblemType.INVALID_REQUEST, detail)

    async def of_http(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        fallback = ProblemType.INVALID_REQUEST if error.status_code < 500 else ProblemType.INTERNAL
        type_ = _OF_STATUS.get(error.status_code, fallback)
        detail = f"{request.method} {request.url.path}: {error.detail}"
        # FastAPI says 400 to a body that is no text at all; to callers it is as invalid as others.
        status = None if error.status_code == 400 else error.status_code
        headers = error.headers
        if type_ is ProblemType.METHOD_NOT_ALLOWED:
            headers = {**(headers or {}), "Allow": ", ".join(_allowed(app, request.scope))}
        return answers.respond(request.scope, type_, detail, status=status, headers=headers)

    app.add_exception_handler(ScalrecError, of_scalrec_error)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_http)


def _allowed(app: FastAPI, scope: Scope) -> list[str]:
    """Methods of every route at this path; the router itself names those of the first alone."""
    return [
        method
        for method in _METHODS
        if any(r.matches({**scope, "method": method})[0] is Match.FULL for r in app.routes)
    ]


def documented(*types: ProblemType) -> dict[int | str, dict[str, Any]]:
    """``responses`` of a route for OpenAPI: one per status, one example per problem type.

    What every route can answer is added here: a path or method that is none, requests too slow or
    too large, and a 500. Nothing is redirected.
    """
    responses: dict[int | str, dict[str, Any]] = {}
    for type_ in (*types, *_ANYWHERE):
        status = STATUS[type_]
        response = responses.setdefault(
            status,
            {
                "description": HTTPStatus(status).phrase,
                "content": {
                    PROBLEM_MEDIA_TYPE: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        if type_ in _PASSING:
            response["headers"] = {
                "Retry-After": {"description": "seconds to wait", "schema": {"type": "integer"}}
            }
        if type_ is ProblemType.METHOD_NOT_ALLOWED:
            response["headers"] = {
                "Allow": {"description": "the methods of the path", "schema": {"type": "string"}}
            }
        if type_ is ProblemType.UNAUTHENTICATED:
            response["headers"] = {
                "WWW-Authenticate": {
                    "description": "Bearer, and what was wrong with the token (RFC 6750)",
                    "schema": {"type": "string"},
                }
            }
        example = Problem(type=type_, title=TITLE[type_], status=status)
        response["content"][PROBLEM_MEDIA_TYPE]["examples"][type_.name.lower()] = {
            "value": example.model_dump(mode="json")
        }
    return responses
