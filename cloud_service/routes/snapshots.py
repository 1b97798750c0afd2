"""``/v1/users/{user}/snapshot``: POST computes a fresh one, GET gives the stored one."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Header, Path, Request, Security
from fastapi.security import HTTPBearer
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from cloud_service.generation.base import ToldItems
from cloud_service.http.problems import ProblemError, documented
from cloud_service.http.security import Admission
from cloud_service.snapshot_service import Served, SnapshotService
from shared.schemas import (
    BUNDLE_HEADER,
    STALE_HEADER,
    STORED_HEADER,
    USER_PATTERN,
    ProblemType,
    SnapshotRequest,
    SnapshotResponse,
)
from shared.snapshot import MEDIA_TYPE, Snapshot

User = Annotated[
    str, Path(pattern=USER_PATTERN, description="the user's id", examples=["u-42", "ada@home"])
]

_HEADERS = {
    "ETag": "the snapshot's version",
    "Age": "seconds since it was computed",
    BUNDLE_HEADER: "the bundle it was computed with",
    STALE_HEADER: "true when an older snapshot stands in for a failed computation",
    STORED_HEADER: "false when the store did not take it",
}
_EXAMPLE = Snapshot(
    user="u-42",
    tau=42,
    created_ms=1_700_000_000_000,
    bundle_id="9f2c1a7be04d5533",
    e_sem=np.array([0.1, -0.2], dtype=np.float32),
    items=np.array([17, 3, 201], dtype=np.int32),
    scores=np.array([0.91, 0.88, 0.71], dtype=np.float32),
)
_SNAPSHOT: dict[str, Any] = {
    "model": SnapshotResponse,
    "description": "The snapshot: JSON, or the binary blob if `Accept` names its media type.",
    "headers": {
        name: {"description": words, "schema": {"type": "string"}}
        for name, words in _HEADERS.items()
    },
    "content": {
        MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}},
        "application/json": {
            "example": SnapshotResponse.of(_EXAMPLE, stale=False, age_s=0).model_dump(mode="json")
        },
    },
}


# Described here, checked by the admission: a dependency would run after the body has been read.
_BEARER = HTTPBearer(
    scheme_name="deviceToken",
    description="A token of the user in the path, as `scalrec token issue` makes them.",
    bearerFormat="JWT",
    auto_error=False,
)
_REFUSALS = (ProblemType.UNAUTHENTICATED, ProblemType.FORBIDDEN, ProblemType.RATE_LIMITED)


def snapshot_routes(
    service: SnapshotService,
    admission: Admission,
    *,
    bundle_id: str,
    keep_s: float,
    told: ToldItems | None = None,
) -> list[BaseRoute]:
    """Routes over ``service`` behind ``admission``; the store keeps a snapshot ``keep_s`` seconds.

    Args:
        told: reads the item tokens of requests; None pays them no attention.
    """
    common: dict[str, Any] = {
        "prefix": "/v1/users/{user}",
        "tags": ["snapshots"],
        "dependencies": [Security(_BEARER)],
    }
    router = APIRouter(route_class=admission.route_class(), **common)
    often = APIRouter(route_class=admission.direct_route_class(), **common)
    # Never fresh, as the user may have acted since; usable while a new one is fetched or the
    # cloud is away, for as long as it is kept (RFC 5861). Private: it is about one user.
    cache_control = (
        f"private, max-age=0, stale-while-revalidate={int(keep_s)}, stale-if-error={int(keep_s)}"
    )

    def answer(request: Request, served: Served, cache: str) -> Response:
        snapshot, age_s = served.snapshot, service.age_s(served.snapshot)
        headers = {
            # Weak: JSON and blob of one version differ in bytes, not in meaning.
            "ETag": _etag(snapshot.version),
            "Age": str(int(age_s)),
            "Cache-Control": cache,
            "Vary": "Accept",
            BUNDLE_HEADER: snapshot.bundle_id,
            STALE_HEADER: str(served.stale).lower(),
            STORED_HEADER: str(served.stored).lower(),
        }
        if _accepts_blob(request):
            return Response(served.blob, media_type=MEDIA_TYPE, headers=headers)
        body = SnapshotResponse.of(snapshot, stale=served.stale, age_s=age_s)
        return JSONResponse(body.model_dump(mode="json"), headers=headers)

    @router.post(
        "/snapshot",
        operation_id="refreshSnapshot",
        summary="Compute a snapshot from an abstract",
        response_model=None,
        responses={
            200: _SNAPSHOT,
            **documented(
                *_REFUSALS,
                ProblemType.INVALID_REQUEST,
                ProblemType.UNSUPPORTED_MEDIA_TYPE,
                ProblemType.BUNDLE_MISMATCH,
                ProblemType.OVERLOADED,
                ProblemType.EMBEDDER_UNAVAILABLE,
                ProblemType.EMBEDDER_MISMATCH,
                ProblemType.ABSTRACT_REFUSED,
            ),
        },
    )
    async def refresh(request: Request, user: User, body: SnapshotRequest) -> Response:
        """Embed the abstract, retrieve candidates, keep and answer the snapshot.

        If a newer snapshot of the user is stored, that one is answered. If the embedder fails,
        the last stored one is, marked stale. If the store fails, the fresh one still is.
        """
        if body.bundle_id is not None and body.bundle_id != bundle_id:
            raise ProblemError(
                ProblemType.BUNDLE_MISMATCH,
                f"the cloud serves bundle {bundle_id}, not {body.bundle_id}; update the device",
                bundle_id=bundle_id,
            )
        history = None
        if told is not None and body.item_tokens is not None:
            try:
                history = told.read(body.item_tokens)
            except ValueError as error:
                raise ProblemError(ProblemType.INVALID_REQUEST, str(error)) from error
        served = await service.refresh(user, body.abstract, body.step, history)
        return answer(request, served, "no-store")

    @often.get(
        "/snapshot",
        operation_id="cachedSnapshot",
        summary="The stored snapshot",
        response_model=None,
        responses={
            200: _SNAPSHOT,
            304: {"description": "The stored snapshot still is the one that If-None-Match names."},
            **documented(
                *_REFUSALS,
                ProblemType.INVALID_REQUEST,
                ProblemType.NO_SNAPSHOT,
                ProblemType.STORE_UNAVAILABLE,
            ),
        },
    )
    async def cached(
        request: Request,
        user: User,
        if_none_match: Annotated[
            str | None, Header(description="versions the caller holds", examples=['W/"12"'])
        ] = None,
    ) -> Response:
        """The newest stored snapshot of the user; nothing is computed."""
        served = await service.cached(user)
        if served is None:
            raise ProblemError(
                ProblemType.NO_SNAPSHOT,
                "nothing is stored for this user and bundle; POST an abstract to compute one",
            )
        response = answer(request, served, cache_control)
        if if_none_match is not None and _matches(if_none_match, served.snapshot.version):
            kept = ("etag", "age", "cache-control", "vary", BUNDLE_HEADER.lower())
            return Response(
                status_code=304,
                headers={name: response.headers[name] for name in kept},
            )
        return response

    return [*often.routes, *router.routes]


def _etag(version: int) -> str:
    return f'W/"{version}"'


def _matches(if_none_match: str, version: int) -> bool:
    """Weak comparison (RFC 9110, 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or f'"{version}"' in tags


def _accepts_blob(request: Request) -> bool:
    ranges = ",".join(request.headers.getlist("accept")).split(",")
    return any(r.split(";")[0].strip().lower() == MEDIA_TYPE for r in ranges)
