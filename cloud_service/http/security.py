"""Admission: who comes in. Token, then user, then rate; before a byte of the body is read."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from cloud_service.http.audit import Pseudonyms
from cloud_service.http.problems import ProblemError
from cloud_service.keys import load_keys
from cloud_service.limits import DeviceRates
from cloud_service.settings import CloudSettings
from cloud_service.telemetry.telemetry import request_fields
from shared.errors import ConfigError, TokenRefused
from shared.schemas import USER_PATTERN, ProblemType
from shared.tokens import KeyRing, TokenClaims, verify_token

LEEWAY_S = 5.0  # for clocks that disagree
ANY_DEVICE = "-"  # callers that show no token cannot be told apart by device
MOST_TOKENS = 20_000  # remembered; some 10 MB
_USER = re.compile(USER_PATTERN)
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: proven by a token, or merely said where tokens are off.

    Attributes:
        pseudonym: of the user.
    """

    user: str
    device: str
    pseudonym: str


@dataclass(frozen=True, slots=True)
class KnownToken:
    """Attributes: claims of a verified token; pseudonym of its user."""

    claims: TokenClaims
    pseudonym: str


class KnownTokens:
    """Remembers the tokens seen last, until they expire; refused ones are not remembered.

    Kept under a keyed digest: tokens do not lie in memory, and how long a look-up takes tells
    nothing of a token that somebody guesses at. Only for as long as the ring of keys stays.

    Args:
        leeway_s: seconds for which an expired token is still good.
        most: tokens remembered.
    """

    def __init__(self, leeway_s: float, most: int = MOST_TOKENS):
        self._leeway_s = leeway_s
        self._most = most
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, KnownToken] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def find(self, token: str, now: float) -> KnownToken | None:
        """The token if it has been verified and is still good at ``now`` (Unix seconds)."""
        digest = self._digest(token)
        known = self._known.get(digest)
        if known is None:
            return None
        if now >= known.claims.expires_s + self._leeway_s:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return known

    def add(self, token: str, known: KnownToken) -> None:
        """Remember a token that was verified just now."""
        self._known[self._digest(token)] = known
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), digest_size=16, key=self._key).digest()


def required_keys(cloud: CloudSettings) -> KeyRing | None:
    """The keys tokens are checked with; None where ``cloud.auth`` is off.

    Raises ConfigError when tokens are required and there is no key: a service must not start open.
    """
    if cloud.auth == "off":
        return None
    ring = load_keys(cloud)
    if ring is None:
        raise ConfigError(
            "cloud.auth is required but there is no key to check tokens with: run "
            "`scalrec token keygen --out auth.keys` and set cloud.auth_keys_file=auth.keys on the "
            "cloud and wherever tokens are issued; or set cloud.auth=off if nobody else can "
            "reach this service"
        )
    return ring


class Admission:
    """Admits a request about one user, or refuses it.

    Args:
        ring: of accepted keys; None lets every caller be whom the path names.
        rates: requests per device.
        pseudonyms: users as logs name them.
        now: Unix seconds.
    """

    def __init__(
        self,
        ring: KeyRing | None,
        rates: DeviceRates,
        pseudonyms: Pseudonyms,
        now: Callable[[], float],
    ):
        self._ring = ring
        self._rates = rates
        self._pseudonyms = pseudonyms
        self._now = now
        self._known = KnownTokens(LEEWAY_S)

    def admit(self, request: Request) -> Caller:
        """The caller, also kept in the request's state for the audit log.

        Raises:
            ProblemError: 401 without a valid token, 403 with a token of another user.
            RateLimited: the device asks too often.
        """
        user = str(request.path_params["user"])
        state = request.scope.setdefault("state", {})
        try:
            caller = self._identify(request.headers.get("authorization"), user)
        except ProblemError:
            state["asked_for"] = self._pseudonyms.of(user)
            raise
        state["user"], state["device"] = caller.pseudonym, caller.device
        if caller.user == user:
            state["asked_for"] = caller.pseudonym
        else:
            state["asked_for"] = self._pseudonyms.of(user)
            raise ProblemError(
                ProblemType.FORBIDDEN, "the token is of another user than the path names"
            )
        self._rates.take((caller.user, caller.device))
        # What is logged from here on is about this user.
        request_fields.get({})["user"] = caller.pseudonym
        return caller

    def route_class(self) -> type[APIRoute]:
        """Routes that admit before they read: FastAPI parses the body before any dependency."""
        admission = self

        class AdmittedRoute(APIRoute):
            def get_route_handler(self) -> Handler:
                handler = super().get_route_handler()

                async def admitted(request: Request) -> Response:
                    admission.admit(request)
                    if self.body_field is not None:
                        _require_json(request)
                    return await handler(request)

                return admitted

        return AdmittedRoute

    def direct_route_class(self) -> type[APIRoute]:
        """Guarded routes for GETs that are asked often: ``endpoint(request, user, if_none_match)``.

        FastAPI describes such a route, but the arguments reach the endpoint without its machinery,
        which takes longer than all the rest. What is not valid goes FastAPI's way, to be refused.
        """
        admission = self

        class DirectRoute(self.route_class()):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any):
                super().__init__(*args, **kwargs)
                by_fastapi: ASGIApp = self.app  # type: ignore[has-type]

                async def direct(scope: Scope, receive: Receive, send: Send) -> None:
                    user = scope["path_params"]["user"]
                    if not _USER.fullmatch(user):
                        await by_fastapi(scope, receive, send)
                        return
                    request = Request(scope)
                    admission.admit(request)
                    held = request.headers.get("if-none-match")
                    response = await self.endpoint(request, user, held)
                    await response(scope, receive, send)

                self.app = direct

        return DirectRoute

    def _identify(self, authorization: str | None, user: str) -> Caller:
        if self._ring is None:
            return Caller(user, ANY_DEVICE, self._pseudonyms.of(user))
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        try:
            if scheme.lower() != "bearer" or not token:
                raise TokenRefused("missing", "send the user's token: Authorization: Bearer TOKEN")
            now = self._now()
            known = self._known.find(token, now)
            if known is None:
                claims = verify_token(token, self._ring, now=now, leeway_s=LEEWAY_S)
                known = KnownToken(claims, self._pseudonyms.of(claims.user))
                self._known.add(token, known)
        except TokenRefused as refusal:
            # RFC 6750: no error code for a request that shows no token at all.
            error = "" if refusal.reason == "missing" else ', error="invalid_token"'
            raise ProblemError(
                ProblemType.UNAUTHENTICATED,
                str(refusal),
                headers={"WWW-Authenticate": f'Bearer realm="scalrec"{error}'},
                audit=refusal.reason,
            ) from refusal
        return Caller(known.claims.user, known.claims.device, known.pseudonym)


def _require_json(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise ProblemError(
            ProblemType.UNSUPPORTED_MEDIA_TYPE, "the body must be sent as application/json"
        )
