"""AuditLog: one line for every request that was turned away, without what it said; its users as
Pseudonyms, recognisable to whoever reads the log and named to nobody."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from starlette.types import Scope
from structlog.typing import FilteringBoundLogger

from shared.line_rates import LineRates
from shared.schemas import ProblemType
from shared.tokens import KeyRing

REFUSALS = frozenset(
    {
        ProblemType.INVALID_REQUEST,
        ProblemType.UNAUTHENTICATED,
        ProblemType.FORBIDDEN,
        ProblemType.REQUEST_TOO_LARGE,
        ProblemType.HEADERS_TOO_LARGE,
        ProblemType.UNSUPPORTED_MEDIA_TYPE,
        ProblemType.BUNDLE_MISMATCH,
        ProblemType.RATE_LIMITED,
        ProblemType.OVERLOADED,
    }
)


class AuditLog:
    """Writes event ``refused`` with reason, status, method, route, and whom it was about.

    ``user`` and ``device`` are the token's, where there was a valid one; ``asked_for`` is the user
    in the path; users are pseudonyms. The ids of request and refresh come with the logger's
    context. Neither tokens nor bodies nor paths are written.

    A caller causes a bounded number of lines: a device, or all those together who have shown no
    valid token. ``left_out`` of the next line says how many refusals have none of their own; the
    metrics count them all.

    Args:
        log: where lines go.
        rates: bound on them.
    """

    def __init__(self, log: FilteringBoundLogger, rates: LineRates):
        self._log = log
        self._rates = rates

    def refused(self, scope: Scope, type_: ProblemType, status: int, why: str = "") -> None:
        """Note that the request of ``scope`` was answered with ``type_``, if that is a refusal."""
        if type_ not in REFUSALS:
            return
        state = scope.get("state", {})
        left_out = self._rates.take((state.get("user"), state.get("device")))
        if left_out is None:
            return
        about = {name: state.get(name) for name in ("user", "device", "asked_for")}
        self._log.warning(
            "refused",
            audit=True,
            reason=type_.value.rsplit(":", 1)[-1],
            status=status,
            method=scope["method"],
            route=route_of(scope),
            **({"why": why} if why else {}),
            **({"left_out": left_out} if left_out else {}),
            **{name: value for name, value in about.items() if value is not None},
        )

    def close(self) -> None:
        """Tell what no line has told yet."""
        if left_out := self._rates.rest():
            self._log.warning("refused", audit=True, left_out=left_out)


def route_of(scope: Scope) -> str:
    """The template, not the path: paths hold user ids, and would make endless label values."""
    return getattr(scope.get("route"), "path", "unmatched")


class Pseudonyms:
    """Keyed hashes of user ids.

    Of the ring's signing key, so that replicas agree; they change when that key does. Without a
    ring they hold for this process only. Plain hashes would not do: user ids can be guessed.
    """

    def __init__(self, ring: KeyRing | None):
        secret = secrets.token_bytes(32) if ring is None else ring.signing[1]
        self._key = hmac.digest(secret, b"scalrec user pseudonyms", hashlib.sha256)

    def of(self, user: str) -> str:
        """16 hexadecimal digits."""
        return hmac.digest(self._key, user.encode(), hashlib.sha256)[:8].hex()
