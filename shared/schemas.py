"""HTTP request and response models of the cloud service, and its stable problem types."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.snapshot import Snapshot

MAX_ABSTRACT_CHARS = 8_000
MAX_STEP = (1 << 22) - 1
MAX_TOLD_ITEMS = 200
MAX_ITEM_CODES = 8
MAX_ITEM_CODE = 65_535
# An abstract fits however JSON spells it, and so do all the item tokens.
MAX_BODY_BYTES = 12 * MAX_ABSTRACT_CHARS + MAX_TOLD_ITEMS * (8 * MAX_ITEM_CODES + 4) + 1024
MAX_HEADER_BYTES = 16 * 1024
USER_PATTERN = r"^[A-Za-z0-9._~@-]{1,128}$"
PROBLEM_MEDIA_TYPE = "application/problem+json"
STALE_HEADER = "Scalrec-Stale"
BUNDLE_HEADER = "Scalrec-Bundle"
STORED_HEADER = "Scalrec-Stored"  # "false" when the cloud could not keep the snapshot
REQUEST_ID_HEADER = "X-Request-ID"
REFRESH_HEADER = "Scalrec-Refresh"  # one id for all attempts of a device's refresh
ID_PATTERN = r"^[A-Za-z0-9._-]{1,64}$"  # of both ids; others are replaced, or left out


def _numbers_only(value: Any) -> Any:
    """Refuse what pydantic would turn into a number although JSON Schema has it as none."""
    if isinstance(value, bool | str):
        raise ValueError("Input should be a valid integer")
    return value


# Behind the bounds: before them it would take them out of the published document.
_NUMBER = BeforeValidator(_numbers_only)
ItemCodes = Annotated[
    list[Annotated[int, Field(ge=0, le=MAX_ITEM_CODE), _NUMBER]],
    Field(min_length=1, max_length=MAX_ITEM_CODES),
]


class SnapshotRequest(BaseModel):
    """What a device sends: words about the user, and at which step they were written."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,  # an abstract must not end up in a log line
        json_schema_extra={
            "examples": [
                {
                    "abstract": "Mostly watches drama and film noir. Recently: Heat, Fargo. "
                    "It is Friday evening.",
                    "step": 42,
                    "bundle_id": "9f2c1a7be04d5533",
                }
            ]
        },
    )
    abstract: str = Field(
        min_length=1, max_length=MAX_ABSTRACT_CHARS, description="sentences about the user"
    )
    step: Annotated[
        int,
        Field(ge=0, le=MAX_STEP, description="events of the user the abstract has seen"),
        _NUMBER,
    ]
    bundle_id: str | None = Field(
        default=None, max_length=64, description="refuse (409) unless the cloud serves this bundle"
    )
    item_tokens: list[ItemCodes] | None = Field(
        default=None,
        max_length=MAX_TOLD_ITEMS,
        description="tokens of the user's latest items, oldest first, as the bundle names them; "
        "only read by a cloud whose candidates are generated",
    )


class SnapshotResponse(BaseModel):
    """A snapshot as JSON; devices ask for the binary blob by its media type instead."""

    user: str = Field(description="whose it is")
    version: int = Field(description="made of the step; a newer snapshot has a higher one")
    tau: int = Field(description="events of the user that its abstract knew")
    created_ms: int = Field(description="when it was computed, Unix time in milliseconds")
    bundle_id: str = Field(description="the bundle it was computed with")
    stale: bool = Field(description="true when an older snapshot stands in for a failed refresh")
    age_s: float = Field(ge=0, description="seconds since it was computed")
    e_sem_base64: str = Field(description="d little-endian float32")
    items: list[int] = Field(description="candidates, by their index in the bundle")
    scores: list[float] = Field(description="the cloud's score of each")

    @classmethod
    def of(cls, snapshot: Snapshot, *, stale: bool, age_s: float) -> SnapshotResponse:
        return cls(
            user=snapshot.user,
            version=snapshot.version,
            tau=snapshot.tau,
            created_ms=snapshot.created_ms,
            bundle_id=snapshot.bundle_id,
            stale=stale,
            age_s=age_s,
            e_sem_base64=base64.b64encode(snapshot.e_sem.astype("<f4").tobytes()).decode(),
            items=snapshot.items.tolist(),
            scores=np.round(snapshot.scores.astype(np.float64), 6).tolist(),
        )


class BundleResponse(BaseModel):
    """Which bundle the cloud serves."""

    bundle_id: str = Field(description="what devices compare theirs with")
    log: str = Field(description="name of the dataset it was trained on")
    profile: str = Field(description="device profile it was trained for")
    dim: int = Field(description="d, length of an embedding")
    n_items: int = Field(description="items in its catalogue")
    embedder: str = Field(description="name of its text model")


class HealthResponse(BaseModel):
    """Liveness or readiness; ``checks`` names each dependency and its state."""

    status: str = Field(description="`ok` or `ready`")
    checks: dict[str, str] = Field(default={}, description="each part and its state")


class ProblemType(StrEnum):
    """Stable ``type`` of every problem+json answer (RFC 9457)."""

    INVALID_REQUEST = "urn:scalrec:invalid-request"
    UNAUTHENTICATED = "urn:scalrec:unauthenticated"
    FORBIDDEN = "urn:scalrec:forbidden"
    REQUEST_TIMEOUT = "urn:scalrec:request-timeout"
    REQUEST_TOO_LARGE = "urn:scalrec:request-too-large"
    HEADERS_TOO_LARGE = "urn:scalrec:headers-too-large"
    UNSUPPORTED_MEDIA_TYPE = "urn:scalrec:unsupported-media-type"
    RATE_LIMITED = "urn:scalrec:rate-limited"
    BUNDLE_MISMATCH = "urn:scalrec:bundle-mismatch"
    NO_SNAPSHOT = "urn:scalrec:no-snapshot"
    OVERLOADED = "urn:scalrec:overloaded"
    ABSTRACT_REFUSED = "urn:scalrec:abstract-refused"
    EMBEDDER_UNAVAILABLE = "urn:scalrec:embedder-unavailable"
    EMBEDDER_MISMATCH = "urn:scalrec:embedder-mismatch"
    STORE_UNAVAILABLE = "urn:scalrec:store-unavailable"
    NOT_READY = "urn:scalrec:not-ready"
    NOT_FOUND = "urn:scalrec:not-found"
    METHOD_NOT_ALLOWED = "urn:scalrec:method-not-allowed"
    INTERNAL = "urn:scalrec:internal"


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: ProblemType = Field(description="what went wrong, in a stable word")
    title: str = Field(description="the same in words")
    status: int = Field(description="that of the answer")
    detail: str = Field(default="", description="what is special about this one")
    instance: str = Field(default="", description="names the request in the service's log")
